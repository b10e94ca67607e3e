"""What a loss of power leaves of a folder, rebuilt from a log of what a program did to it (log_writes.cc).

A file system is taken to keep:

* of a file everything up to its last sync. Of later writes any sectors of 512 bytes, or the first ones, all or
  none of them; its size is one that it had since, lost sectors are what they were before, or zeros.
* of a folder everything (files that are new in it, renamed or removed) up to its last sync. Later changes are
  kept in order, up to any of them: of every folder for itself, or of all folders in one order. A rename is kept
  as a whole.

The order is what journaling file systems have. Without it a file that is synced and renamed, but whose folder is
not synced, could lie under neither name, and SQLite could not be used either.
"""

import os

SECTOR = 512


class File:

    def __init__(self, contents=b''):
        self.base = bytes(contents)  # what is on disk whatever happens
        self.ops = []  # (offset, data), or (size, None) of a truncation, since the last sync

    def sync(self):
        self.base = self.now()
        self.ops = []

    def now(self):
        return self.apply(lambda: True)

    def apply(self, keep, whole_writes=False):
        """The contents with the operations or sectors that keep() takes."""
        contents = bytearray(self.base)
        for at, data in self.ops:
            if data is None:
                if keep():
                    del contents[at:]
                    contents.extend(bytes(at - len(contents)))
                continue
            if whole_writes:
                pieces = [(at, data)] if keep() else []
            else:
                # Cut at the sectors of the disk.
                cuts = [at, *range(at - at % SECTOR + SECTOR, at + len(data), SECTOR), at + len(data)]
                pieces = [(a, data[a - at:b - at]) for a, b in zip(cuts, cuts[1:]) if keep()]
            for a, piece in pieces:
                contents.extend(bytes(max(0, a - len(contents))))
                contents[a:a + len(piece)] = piece
        return bytes(contents)

    def after_loss(self, draw):
        kind = draw.choice(('all', 'none', 'first', 'first', 'sectors', 'sectors', 'zeros'))
        if kind == 'all':
            return self.now()
        if kind == 'none':
            return self.base
        if kind == 'first':
            left = iter([True] * draw.randrange(len(self.ops) + 1))
            return self.apply(lambda: next(left, False), whole_writes=True)
        share = draw.choice((0.1, 0.5, 0.9, 0.99))
        contents = self.apply(lambda: draw.random() < share)
        if kind == 'zeros':
            # The size is that of the last write, of which data has not arrived.
            contents += bytes(max(0, len(self.now()) - len(contents)))
        return contents


class Folder:

    def __init__(self):
        self.base = {}  # name: File or Folder
        self.ops = []  # (number, {name: File, Folder or None}) since the last sync

    def sync(self):
        self.base = self.now()
        self.ops = []

    def now(self, end=None):
        """The entries with the changes whose number is less than the end."""
        entries = dict(self.base)
        for number, changes in self.ops:
            if end is not None and number >= end:
                break
            entries.update(changes)
        return {name: what for name, what in entries.items() if what is not None}


class Disk:
    """Follows a log. Paths are relative to the folder; others are not followed."""

    def __init__(self, root, older):
        self.root_path, self.root = root, Folder()
        self.root.base = {name: File(contents) for name, contents in older.items()}
        self.folders = [self.root]
        self.open = {}  # by descriptor
        self.number = 0

    def inside(self, path):
        """(folder, name) or None"""
        path = os.path.normpath(os.path.join(self.root_path, path))
        if path == self.root_path:
            return self.root, None
        if not path.startswith(self.root_path + '/'):
            return None
        *parents, name = path[len(self.root_path) + 1:].split('/')
        folder = self.root
        for parent in parents:
            folder = folder.now().get(parent)
            if not isinstance(folder, Folder):
                return None  # through a link: an input
        return folder, name

    def change(self, folder, changes):
        self.number += 1
        folder.ops.append((self.number, changes))

    def do(self, words, data):
        kind, *args = words
        if kind == 'open':
            fd, flags, new, path = int(args[0]), int(args[1]), args[2] == '1', args[3]
            self.open.pop(fd, None)
            place = self.inside(path)
            if place is None:
                return
            folder, name = place
            if name is None:
                self.open[fd] = folder
                return
            if new:
                self.change(folder, {name: File()})
            what = folder.now().get(name)  # None: a link to an input
            if what is not None:
                self.open[fd] = what
                if flags & os.O_TRUNC and isinstance(what, File):
                    what.ops.append((0, None))
        elif kind == 'close':
            self.open.pop(int(args[0]), None)
        elif kind in ('write', 'truncate', 'sync'):
            what = self.open.get(int(args[0]))
            if what is None:
                return
            if kind == 'write':
                what.ops.append((int(args[1]), data))
            elif kind == 'truncate':
                what.ops.append((int(args[1]), None))
            else:
                what.sync()
        elif kind == 'rename':
            folder, name = self.inside(args[0])
            to_folder, to_name = self.inside(args[1])
            assert folder is to_folder, args
            self.change(folder, {name: None, to_name: folder.now()[name]})
        elif kind == 'remove':
            place = self.inside(args[0])
            if place is not None and place[1] in place[0].now():
                self.change(place[0], {place[1]: None})
        elif kind == 'folder':
            folder, name = self.inside(args[0])
            made = Folder()
            self.folders.append(made)
            self.change(folder, {name: made})
        else:
            raise AssertionError(words)

    def now(self):
        """{name: bytes or such a dictionary} of the folder as the program sees it."""
        def of(folder):
            return {name: what.now() if isinstance(what, File) else of(what)
                    for name, what in folder.now().items()}
        return of(self.root)

    def after_loss(self, draw):
        """The same, as it is found when power is back."""
        # One order of all folders: nothing that came before a synced change is lost.
        synced = min([folder.ops[0][0] for folder in self.folders if folder.ops] or [self.number + 1])
        end = draw.choice((self.number + 1, draw.randint(synced, self.number + 1)))
        alone = draw.random() < 0.5

        def of(folder):
            cut = end
            if alone and folder.ops:
                cut = draw.choice((folder.ops[0][0], folder.ops[-1][0] + 1, draw.choice(folder.ops)[0]))
            return {name: what.after_loss(draw) if isinstance(what, File) else of(what)
                    for name, what in folder.now(cut).items()}
        return of(self.root)


def read_log(path):
    """[(words, data)]"""
    with open(path, 'rb') as file:
        contents = file.read()
    records, at = [], 0
    while at < len(contents):
        end = contents.index(b'\n', at)
        words = [os.fsdecode(word) for word in contents[at:end].split(b'\0')]
        at, data = end + 1, None
        if words[0] == 'write':
            data = contents[at:at + int(words[3])]
            at += len(data)
        records.append((words, data))
    return records
