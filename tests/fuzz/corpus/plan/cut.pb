_
LlamaForCausalLM@00112233445566778899aabbccddeeff00112233445566778899aabbccddeeffÀ €†(€

7bpw¨Ñ"Ä
greedyfdt"clip*int160ÿÿÿÿÿÿÿÿÿ:int4-g64:	int4z-g32:int8:int8-g64:
int8z-g128:bf16Bembed=int8-g64Jdown=8RtextZ@ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100`h px@*=
model.embed_tokensembedÿÿÿÿÿÿÿÿÿ `(@2int8-g64:clip@À1*g
model.layers.0.self_attn.q_projq @(@2int4-g64:clip@€J
int4-g64€š™™™™™¹?J
int8€!YóøÂn¥*7
model.layers.0.sel