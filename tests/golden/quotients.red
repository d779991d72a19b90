; A constant in a buffer, and division: y = (x + k) / d, two channels, four pixels.
;
;   x, in codes of 0.5      3 -5    0  6   -4  0    1 -7
;   k, held by the program  2  1    0  3    1  0    0  1    less its zero, 1:  1 0  -1 2  0 -1  -1 0
;   x + k                   4 -5   -1  8   -4 -1    0 -7
;   d, in codes of 1.0      3  2   -4  0    0 -8    0  3
;
; With two bits below the point: 4 * (x + k) / d, halves away from zero, by zero the largest there is:
;
;   16/3 = 5    -20/2 = -10     -4/-4 = 1    32/0 = +largest
;   -16/0 = -largest    -4/-8 = 1/2 = 1     0/0 = 0    -28/3 = -9
;
; One step of these is 0.5 / 1.0 / 4 = 0.125, as that of %y, whose codes end at -128 and 127.
;
; Counts, for each of four rounds: loads of 2 values of 5, 4 and 5 bits (28), a store of 2 values of
; 8 bits (16), 2 sums, 2 vector operations each of div and quant; 7 instructions.
;
; Cycles, a layer without a fire is one window: max(read 112/10, adder 8/1, vector 16/2,
; write 64/22) = 12.

.isa    1
.target "by hand" rows any columns any arrays any cell 2 encoding differential pair shared dac 1 adc 8 share 8 adders 1 vector 2 read 10 write 22
.input  %x i5[4, 2] scale 0.5 zero 0 onnx "x" f32[4, 2] axis 1
.input  %d i5[4, 2] scale 1.0 zero 0 onnx "d" f32[4, 2] axis 1
.buffer %k i4[4, 2] scale 0.5 zero 1 holds "k"
.output %y i8[4, 2] scale 0.125 zero 0 onnx "y" f32[4, 2] axis 1
.const  "k" i4[4, 2] = 2, 1, 0, 3, 1, 0, 0, 1
.const  "one" f32[1] = 1.0

.layer  "quotients" tensor "y"
loop q, 0, 4
  load v0, %x[q]
  load v1, %k[q]
  sum v0, v0, v1
  load v1, %d[q]
  div v0, v0, v1, fraction=2
  quant v0, v0, "one", low=-128, high=127
  store %y[q], v0
end
