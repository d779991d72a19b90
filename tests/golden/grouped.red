; A grouped convolution, im2col: 4 channels in 2 groups, 2 channels out, kernel 2 along 3 samples.
;
; One crossbar of two row bands (one per kernel pixel), block-diagonal: rows 0 and 1 of a band
; meet column 0 only, rows 2 and 3 column 1 only.  So the constant has one column, for a row has
; one weight.
;
;   band 0   1 2 | 3 -1      x[0] = 1 0 | 2 1
;   band 1   0 1 | -2 1      x[1] = 2 1 | 0 3
;                            x[2] = 0 1 | 1 -1
;
;   y[0]:  1*1 + 2*0 + 0*2 + 1*1 = 2     3*2 - 1*1 - 2*0 + 1*3 = 8, saturated to 7 (Clip)
;   y[1]:  1*2 + 2*1 + 0*0 + 1*1 = 5     3*0 - 1*3 - 2*1 + 1*-1 = -6
;
; The machine: a weight of i4 keeps 3 bits of magnitude in 2 cells of 2 bits, on pairs: 4 columns.
; An array of 4 x 4 holds one group (4 rows of both bands, 1 column): 2 arrays.  i4 streams in 4
; planes; every column has its ADC, so a fire takes 4 cycles.
;
; Counts of one round, twice in all:
;   instructions   6                                     6   in all  12
;   drives         2 drives x 4 rows x 4 planes         32           64
;   buffer_reads   2 drives x 4 values x 4 bits         32           64
;   cell_reads     32 pulses x 1 column x 2 slices x 2  128         256
;   activations    2 arrays x 4 planes                   8           16
;   conversions    4 planes x 2 columns x 2 slices      16           32
;   shift_adds     the same                             16           32
;   sums           one term: nothing to add              0            0
;   vector_ops     2                                     2            4
;   buffer_writes  2 values x 4 bits                     8           16
;
; Cycles: 1, then max(fire 4, driver 1, vector 2, write 8/8) = 4, then the last fire 4 and 2
; behind it: 11.

.isa    1
.target "by hand" rows 4 columns 4 arrays 2 cell 2 encoding differential pair shared dac 1 adc 8 share 1 adders 1 vector 1 read 8 write 8
.input  %x i4[1, 3, 4] scale 1.0 zero 0 onnx "x" f32[1, 4, 3] axis 1
.output %y i4[1, 2, 2] scale 1.0 zero 0 onnx "y" f32[1, 2, 2] axis 1
.const  "weight" i4[8, 1] = 1, 2, 3, -1, 0, 1, -2, 1
.const  "one" f32[1] = 1.0
.xbar   @g 2*4 x 2 groups 2 i4 in i4 data "weight" place 0

.layer  "conv" op "Conv" mapping "im2col"
loop o, 0, 2
  drive @g, %x[0, o]
  drive @g.1, %x[0, o + 1]
  fire @g
  sum v0, @g
  quant v0, v0, "one", low=-8, high=7
  store %y[0, o], v0
end
