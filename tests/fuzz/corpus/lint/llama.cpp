llama.cpp
^token_embd\.weight$=q5_1
^blk\.[0-3]\.(attn_q|attn_k|attn_v|attn_output|ffn_gate|ffn_up)\.weight$=q5_1
^blk\.[0-3]\.ffn_down\.weight$=q5_k
