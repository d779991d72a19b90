; Two vector layers and no crossbar: LeakyRelu by `quant`, tanh by `lookup`.
;
; LeakyRelu, slope 0.25, from steps of 0.5 to steps of 0.25 (times 2, half to even):
;
;   x      -4  -1.5   1   3  |   0  0.5  -0.5   20
;   code   -8    -3   2   6  |   0    1    -1   40
;   * 2   -16    -6   4  12  |   0    2    -2   80
;   slope  -4  -1.5   4  12  |   0    2  -0.5   80
;   code   -4    -2   4  12  |   0    2     0   80
;   leaky  -1  -0.5   1   3  |   0  0.5     0   20
;
; tanh: first onto a grid of steps 0.5 from -2 to 2 (times 0.5, saturated to -4..4), then by a
; table with an entry at -2, -1, 0, 1, 2 (shift=1: entries lie 2 grid steps apart) and straight
; lines between.  An entry is tanh * 64, in quarters (fraction=2): -247 is -61.75, where
; tanh(-2) * 64 = -61.7.  A last entry stands behind 2, for the line there (never used: r = 0).
;
;   grid   -2    -1     2     4  |   0    1    0    4
;   u       2     3     6     8  |   4    5    4    8     grid - low, low = -4
;   i, r  1,0   1,1   3,0   4,0  | 2,0  2,1  2,0  4,0
;   sum  -390  -195   390   494  |   0  195    0  494     table[i]*2 + (table[i+1] - table[i])*r
;   / 8   -49   -24    49    62  |   0   24    0   62     rounded half up
;   tanh  times 1/64: -0.765625 -0.375 0.765625 0.96875 | 0 0.375 0 0.96875
;
; Counts: each layer reads and writes 2 vectors of 4 values of 8 bits (64 bits each way, 128 in
; all); vector operations 2 x 4 and 2 x (4 + 4), 24 in all; instructions 2 x 3 and 2 x 4.
;
; Cycles of a layer without a fire: the maximum over its units.  LeakyRelu: max(read 64/64,
; vector 8/4, write 64/32) = 2.  tanh: max(read 1, vector 16/4, write 2) = 4.  6 in all.

.isa    1
.target "by hand" rows any columns any arrays any cell 2 encoding differential pair shared dac 1 adc 8 share 8 adders 1 vector 4 read 64 write 32
.input  %x i8[2, 4] scale 0.5 zero 0 onnx "x" f32[2, 4] axis 1
.output %l i8[2, 4] scale 0.25 zero 0 onnx "leaky" f32[2, 4] axis 1
.output %t i8[2, 4] scale 0.015625 zero 0 onnx "tanh" f32[2, 4] axis 1
.const  "to leaky" f32[1] = 2.0
.const  "to grid" f32[1] = 0.5
.const  "table" i16[6] = -247, -195, 0, 195, 247, 247

.layer  "leaky" op "LeakyRelu" tensor "leaky"
loop n, 0, 2
  load v0, %x[n]
  quant v0, v0, "to leaky", low=-128, high=127, slope=0.25
  store %l[n], v0
end

.layer  "tanh" op "Tanh" tensor "tanh"
loop n, 0, 2
  load v0, %l[n]
  quant v0, v0, "to grid", low=-4, high=4
  lookup v0, v0, "table", low=-4, shift=1, fraction=2
  store %t[n], v0
end
