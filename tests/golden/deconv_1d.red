; A 1-D deconvolution, pixel-wise, whose blocks reach over both ends of the input (gated drives).
;
;   ConvTranspose, 2 channels in, 1 out, kernel 4, stride 2, pads 1 and 1: 3 samples to 6.
;
; Kernel pixel k has reach e = k - 1 = 2*t + a:
;
;   k   e   phase a   tap t   block q reads   weights   times x[0]=(1,2)  x[1]=(3,0)  x[2]=(2,5)
;   0  -1      1       -1        q + 1         1  2              5           3          12
;   1   0      0        0        q             3 -1              1           9           1
;   2   1      1        0        q             0  1              2           0           5
;   3   2      0        1        q - 1        -2  2              2          -6           6
;
;   block 0:  y0 = k1*x0 + outside = 1         y1 = k0*x1 + k2*x0 = 3 + 2 = 5
;   block 1:  y2 = k1*x1 + k3*x0 = 9 + 2 = 11  y3 = k0*x2 + k2*x1 = 12 + 0 = 12
;   block 2:  y4 = k1*x2 + k3*x1 = 1 - 6 = -5  y5 = outside + k2*x2 = 5
;
; Inputs have steps of 0.5, outputs of 0.25, so the accumulator is multiplied by 2, exactly:
;   y = 0.5 2.5 5.5 6.0 -2.5 2.5
;
; The machine: weights of i4 keep 3 bits of magnitude in 1 cell; u4 streams in 4 planes; a fire
; takes 4 planes x 2 columns per ADC = 8 cycles.
;
; Counts of 3 rounds:
;   instructions   3 x (4 drives, a fire, 2 each of sum, mul, store)    33
;   drives         10 drives inside x 2 rows x 4 planes                 80
;   gated_drives   2 drives outside x 2 rows x 4 planes                 16
;   buffer_reads   10 x 2 values x 4 bits                               80
;   cell_reads     80 pulses x 1 column x 2 of a pair                  160
;   activations    3 x 4 sub-crossbars x 1 array x 4 planes             48
;   conversions    3 x 4 sub-crossbars x 4 planes                       48
;   shift_adds     the same                                             48
;   sums           3 x 2                                                 6
;   vector_ops     3 x 2                                                 6
;   buffer_writes  6 values x 16 bits                                   96
;
; Cycles: 1; two windows of max(fire 8, driver 1, adder 2, vector 2/2, write 32/16 = 2) = 8; the last
; fire 8 and max(adder 2, vector 1, write 2) = 2 behind it.  1 + 16 + 10 = 27.

.isa    1
.target "by hand" rows any columns any arrays 4 cell 4 encoding differential pair shared dac 1 adc 8 share 2 adders 1 vector 2 read 16 write 16
.input  %x u4[1, 3, 2] scale 0.5 zero 0 onnx "x" f32[1, 2, 3] axis 1
.output %y i16[1, 6, 1] scale 0.25 zero 0 onnx "y" f32[1, 1, 6] axis 1
.const  "weight" i4[4, 2, 1] = 1, 2, 3, -1, 0, 1, -2, 2
.const  "two" i8[1] = 2
.xbar   @k[4] 2 x 1 i4 in u4 data "weight" place 0

.layer  "up" op "ConvTranspose" mapping "pixel-wise"
loop q, 0, 3
  drive @k[0], %x?[0, q + 1]
  drive @k[1], %x[0, q]
  drive @k[2], %x[0, q]
  drive @k[3], %x?[0, q - 1]
  fire @k
  sum v0, @k[1], @k[3]                          ; phase 0
  sum v1, @k[0], @k[2]                          ; phase 1
  mul v0, v0, "two"
  mul v1, v1, "two"
  store %y[0, 2*q], v0
  store %y[0, 2*q + 1], v1
end
