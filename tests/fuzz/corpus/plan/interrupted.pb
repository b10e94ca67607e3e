_
LlamaForCausalLM@00112233445566778899aabbccddeeff00112233445566778899aabbccddeeffÀ¢ €Š(€

6.5bpw„¤"Æ
additivefdt"clip*int160ÿÿÿÿÿÿÿÿÿ:int4-g64:	int4z-g32:int8:int8-g64:
int8z-g128:bf16Bembed=int8-g64Jdown=8RtextZ@ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100`h px@*=
model.embed_tokensembedÿÿÿÿÿÿÿÿÿ `(@2int8-g64:clip@À1*;
model.layers.0.self_attn.q_projq @(@2int4-g64:clip@€*7
model.layers.0.self_attn.k_projk  (@2int8:clip@À*;
model.layers.0.self_attn.v_projv  (@2int4-g64:clip@À*;
model.layers.0.self_attn.o_projo @(@2int4-g64:clip@€*<
model.layers.0.mlp.gate_projgate €(@2int4-g64:clip@€"*8
model.layers.0.mlp.up_projup €(@2int4-g64:clip@€"*>
model.layers.0.mlp.down_projdown @(€2
int8z-g128:clip@ÀA*>
model.layers.1.self_attn.q_projq @(@2	int4z-g32:clip@À*9
model.layers.1.self_attn.k_projk  (@2int8:clip@À*=
model.layers.1.self_attn.v_projv  (@2int4-g64:clip@À*>
model.layers.1.self_attn.o_projo @(@2	int4z-g32:clip@À*>
model.layers.1.mlp.gate_projgate €(@2int4-g64:clip@€"*:
model.layers.1.mlp.up_projup €(@2int4-g64:clip@€"*@
model.layers.1.mlp.down_projdown @(€2
int8z-g128:clip@ÀA*,
lm_headheadÿÿÿÿÿÿÿÿÿ `(@2int8:rtn@À1J0.1.0