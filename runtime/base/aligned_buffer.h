#ifndef BITBUDGET_RUNTIME_BASE_ALIGNED_BUFFER_H_
#define BITBUDGET_RUNTIME_BASE_ALIGNED_BUFFER_H_

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

namespace bitbudget {

// Asks the kernel for large pages where that pays (a hint). Large buffers are fresh memory each
// time, and faulting it in by small pages costs more than most of the work done on it.
void AdviseHugePages(void* data, size_t bytes);

// A block of trivially copyable elements on a 64-byte boundary (one cache line, one AVX-512
// register). Move-only. Resize() loses the contents and never shrinks the allocation, so that a
// buffer can be reused for batches of different sizes.
template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(int64_t size) { Resize(size); }

  // Contents are undefined afterwards.
  void Resize(int64_t size) {
    if (size > capacity_) {
      data_.reset();
      const size_t bytes = (static_cast<size_t>(size) * sizeof(T) + 63) / 64 * 64;
      data_.reset(static_cast<T*>(::operator new (bytes, std::align_val_t{64})));
      AdviseHugePages(data_.get(), bytes);
      capacity_ = size;
    }
    size_ = size;
  }

  void Fill(const T& value) { std::fill_n(data(), size_, value); }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_.get()[i]; }
  const T& operator[](int64_t i) const { return data_.get()[i]; }
  std::span<T> span() { return {data(), static_cast<size_t>(size_)}; }
  std::span<const T> span() const { return {data(), static_cast<size_t>(size_)}; }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  std::unique_ptr<T, Free> data_;
  int64_t size_ = 0;
  int64_t capacity_ = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_ALIGNED_BUFFER_H_
