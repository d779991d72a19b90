; The deconvolution of padding_free.red once more, zero-padding: a convolution over the input
; with zeros inserted.  Kernel pixel k reads input pixel (o + 1 - k) / 2 for output pixel o.
;
; Along one axis, with an input of 2 pixels (halves are inserted zeros, beyond 0..1 is outside):
;
;   o   k=0            k=1            k=2
;   0   1/2 inserted   0   inside    -1/2 outside
;   1   1   inside     1/2 inserted   0   inside
;   2   3/2 outside    1   inside     1/2 inserted     inside 4, inserted 3, outside 2
;
; Along both, 9 rounds of 9 drives: inside 4*4 = 16; outside where either axis is:
; 81 - 7*7 = 32; the other 49 - 16 = 33 are inserted zeros.  Outputs as in padding_free.red.
;
; The machine: arrays of 4 rows, so 9 rows take 3 row tiles; weights of i4 keep 3 bits of
; magnitude in 2 cells of 2 bits on a pair of columns that are converted apart (twice as many
; conversions); 4 planes; a fire takes 4 planes x 2 columns per ADC x 2 = 16 cycles.
;
; Counts:
;   instructions    9 rounds x (9 drives and 4 more)                           117
;   rounds          9 output pixels                                              9
;   drives          16 x 1 row x 4 planes                                       64
;   gated_drives    32 x 4                                                     128
;   inserted_zeros  33 x 4                                                     132
;   cell_reads      64 pulses x 1 column x 2 slices x 2 of a pair              256
;   activations     9 rounds x 3 arrays x 4 planes                             108
;   conversions     9 rounds x 4 planes x 3 row tiles x 2 slices x 2 of a pair 432
;   shift_adds      the same                                                   432
;   sums            9 rounds x (2 to merge 3 row tiles + 1 bias)                27
;   buffer_reads    16 drives x 4 bits (the others read nothing)                64
;   buffer_writes   9 stores x 8 bits                                           72
;   vector_ops      9 requantisations                                            9
;
; Cycles: 1 up to the first fire; 8 windows of max(fire 16, adder 3, others 1); the last fire 16
; and 3 behind it.  1 + 8*16 + 16 + 3 = 148.

.isa    1
.target "by hand" rows 4 columns any arrays 3 cell 2 encoding differential pair separate dac 1 adc 8 share 2 adders 1 vector 1 read 8 write 8
.input  %x u4[1, 2, 2, 1] scale 0.5 zero 8 onnx "x" f32[1, 1, 2, 2] axis 1
.output %y u8[1, 3, 3, 1] scale 1.0 zero 10 onnx "y" f32[1, 1, 3, 3] axis 1
.const  "weight" i4[9, 1] = 1, 0, -1, 2, 3, 1, 0, -2, 1
.const  "bias" i8[1] = 2
.const  "scale" f32[1] = 0.5
.xbar   @k 9*1 x 1 i4 in i4 data "weight" place 0

.layer  "up" op "ConvTranspose" mapping "zero-padding"
loop o0, 0, 3
  loop o1, 0, 3
    drive @k, %x?[0, (o0 + 1)/2, (o1 + 1)/2]    ; kernel pixel (0, 0)
    drive @k.1, %x?[0, (o0 + 1)/2, (o1)/2]
    drive @k.2, %x?[0, (o0 + 1)/2, (o1 - 1)/2]
    drive @k.3, %x?[0, (o0)/2, (o1 + 1)/2]
    drive @k.4, %x?[0, (o0)/2, (o1)/2]
    drive @k.5, %x?[0, (o0)/2, (o1 - 1)/2]
    drive @k.6, %x?[0, (o0 - 1)/2, (o1 + 1)/2]
    drive @k.7, %x?[0, (o0 - 1)/2, (o1)/2]
    drive @k.8, %x?[0, (o0 - 1)/2, (o1 - 1)/2]
    fire @k
    sum v0, @k, "bias"
    quant v0, v0, "scale", zero=10, low=0, high=255
    store %y[0, o0, o1], v0
  end
end
