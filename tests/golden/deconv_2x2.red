; A 2x2 deconvolution with stride 2, worked out by hand.  No data file: every number is here.
;
;   ConvTranspose, 1 channel in, 1 out, kernel 2x2, stride 2, no padding; then Relu.
;
;   kernel  [ 1  2 ]    bias 1    input (codes, one code is 0.5)  [ 1  2 ]
;           [ 3 -4 ]                                              [ 3 -4 ]
;
; Input pixel q feeds output pixel 2*q + k through kernel pixel k.  Every tap is 0 and every
; phase has one kernel pixel, so block q reads input pixel q alone: 4 rounds, 16 outputs.
;
;   acc = weight * code + 1             times 2 (0.5 / 0.25), negative ones to 0
;     x=1:  2  3    x=2:  3  5            4   6     6  10
;           4 -3          7 -7            8   0    14   0
;     x=3:  4  7    x=-4: -3  -7          8  14     0   0
;          10 -11         -11 17         20   0     0  34
;
;   output = code * 0.25    [ 1.0 1.5  1.5 2.5 ]
;                           [ 2.0 0.0  3.5 0.0 ]
;                           [ 2.0 3.5  0.0 0.0 ]
;                           [ 5.0 0.0  0.0 8.5 ]
;
; The machine: weights of i4 keep 3 bits of magnitude in 1 cell of 4 bits, on a pair of columns;
; inputs of i4 stream in 4 planes of 1 bit; a fire takes 4 planes x 4 columns per ADC = 16 cycles.
;
; Counts of one round, four times in all:
;   instructions   4 drives, a fire, 4 each of sum, quant, store    17   in all  68
;   drives         4 drives x 1 row x 4 planes                      16           64
;   buffer_reads   4 drives x 4 bits                                16           64
;   cell_reads     16 pulses x 1 column x 2 of a pair               32          128
;   activations    4 sub-crossbars x 1 array x 4 planes             16           64
;   conversions    4 sub-crossbars x 4 planes x 1 column            16           64
;   shift_adds     the same                                         16           64
;   sums           4 additions of a bias                             4           16
;   vector_ops     4 requantisations                                 4           16
;   buffer_writes  4 stores x 8 bits                                32          128
;
; Cycles: the drives before the first fire 1; three windows from fire to fire of
; max(fire 16, driver 1, adder 4, vector 4, write 32/8 = 4) = 16; the last fire 16 and, behind it,
; max(adder 4, vector 4, write 4) = 4.  1 + 3*16 + 16 + 4 = 69.

.isa    1
.target "by hand" rows 4 columns 16 arrays 8 cell 4 encoding differential pair shared dac 1 adc 8 share 4 adders 1 vector 1 read 8 write 8
.input  %x i4[1, 2, 2, 1] scale 0.5 zero 0 onnx "x" f32[1, 1, 2, 2] axis 1
.output %y i8[1, 4, 4, 1] scale 0.25 zero 0 onnx "y" f32[1, 1, 4, 4] axis 1
.const  "weight" i4[2, 2, 1, 1] = 1, 2, 3, -4
.const  "bias" i8[1] = 1
.const  "scale" f32[1] = 2.0
.xbar   @k[2, 2] 1 x 1 i4 in i4 data "weight" place 0

.layer  "up" op "ConvTranspose" mapping "pixel-wise"
loop q0, 0, 2
  loop q1, 0, 2
    drive @k[0, 0], %x[0, q0, q1]
    drive @k[0, 1], %x[0, q0, q1]
    drive @k[1, 0], %x[0, q0, q1]
    drive @k[1, 1], %x[0, q0, q1]
    fire @k
    sum v0, @k[0, 0], "bias"
    sum v1, @k[0, 1], "bias"
    sum v2, @k[1, 0], "bias"
    sum v3, @k[1, 1], "bias"
    quant v0, v0, "scale", low=0, high=127      ; low=zero is Relu
    quant v1, v1, "scale", low=0, high=127
    quant v2, v2, "scale", low=0, high=127
    quant v3, v3, "scale", low=0, high=127
    store %y[0, 2*q0, 2*q1], v0
    store %y[0, 2*q0, 2*q1 + 1], v1
    store %y[0, 2*q0 + 1, 2*q1], v2
    store %y[0, 2*q0 + 1, 2*q1 + 1], v3
  end
end
