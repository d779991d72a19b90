; Gemm: 2 samples of 3 values times a 3x2 matrix, plus a bias.
;
; Codes of u3 with zero point 3 stand for -3..4.  The second column of the real matrix has weight
; scale 0.5, so its requantisation scale is 0.5.
;
;   x = [  1 -2  4 ]   codes [ 4 1 7 ]     W = [  1 -2 ]    b = [ 5 -1 ]
;       [ -3  0  2 ]         [ 0 3 5 ]         [  3  0 ]
;                                              [ -1  2 ]
;
;   row 0:  1*1 - 2*3 - 4*1 + 5 = -4          1*-2 + 4*2 - 1 = 5, times 0.5 = 2.5, to even 2
;   row 1:  -3*1 - 2*1 + 5 = 0                -3*-2 + 2*2 - 1 = 9, times 0.5 = 4.5, to even 4
;
; The machine: arrays of 2 rows, so 3 rows take 2 row tiles; offset encoding, a weight of i3 in 3
; cells of 1 bit, (8 - 1) // 3 = 2 weights a row beside the reference column.  -3..4 takes 4 bits,
; 2 bits at a time: 2 planes.  A fire takes 2 planes x 3 columns = 6 cycles.
;
; Counts of one sample, twice in all:
;   instructions   5                                                             5   in all  10
;   rounds         1                                                             1            2
;   drives         3 rows x 2 planes                                             6           12
;   buffer_reads   3 values x 3 bits                                             9           18
;   cell_reads     6 pulses x (2 columns x 3 slices + 1 reference)              42           84
;   activations    2 arrays x 2 planes                                           4            8
;   conversions    2 planes x 2 row tiles x (2 columns x 3 slices + 1)          28           56
;   shift_adds     2 planes x 2 row tiles x 2 columns x 3 slices                24           48
;   sums           2 to merge row tiles + 2 biases                               4            8
;   vector_ops     2                                                             2            4
;   buffer_writes  2 values x 8 bits                                            16           32
;
; Cycles: 1, then max(fire 6, driver 1, adder 4, vector 2, write 16/8) = 6, then the last fire 6
; and 4 behind it: 17.

.isa    1
.target "by hand" rows 2 columns 8 arrays 4 cell 1 encoding offset pair shared dac 2 adc 8 share 3 adders 1 vector 1 read 8 write 8
.input  %x u3[2, 3] scale 1.0 zero 3 onnx "x" f32[2, 3] axis 1
.output %y i8[2, 2] scale 1.0 zero 0 onnx "y" f32[2, 2] axis 1
.const  "weight" i3[3, 2] = 1, -2, 3, 0, -1, 2
.const  "bias" i8[2] = 5, -1
.const  "scale" f32[2] = 1.0, 0.5
.xbar   @fc 3 x 2 i3 in i4 data "weight" place 2

.layer  "fc" op "Gemm"
loop n, 0, 2
  drive @fc, %x[n]
  fire @fc
  sum v0, @fc, "bias"
  quant v0, v0, "scale", low=-128, high=127
  store %y[n], v0
end
