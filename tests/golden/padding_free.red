; One deconvolution, padding-free: every input pixel meets the whole kernel, and the products
; are added where they overlap (clear, accum, load).
;
;   ConvTranspose, 1 channel in, 1 out, kernel 3x3, stride 2, pads 1: 2x2 to 3x3, bias 2.
;
;   kernel  [ 1  0 -1 ]    input, less its zero point 8  [ 1  2 ]    codes  [  9 10 ]
;           [ 2  3  1 ]                                  [ 3 -1 ]           [ 11  7 ]
;           [ 0 -2  1 ]
;
; Input pixel i and kernel pixel k meet at output pixel 2*i + k - 1; outside 0..2 is dropped.
;
;   y00 = 1*3 = 3      y01 = 1*1 + 2*2 = 5                       y02 = 2*3 = 6
;   y10 = 1*-2 + 3*0 = -2   y11 = 1*1 + 2*0 + 3*-1 + -1*1 = -3   y12 = 2*-2 + -1*0 = -4
;   y20 = 3*3 = 9      y21 = 3*1 + -1*2 = 1                      y22 = -1*3 = -3
;
;   plus 2            times 0.5 (half to even)   = output, codes are 10 more
;   [  5  7  8 ]      [ 2.5  3.5  4   ]          [ 2 4  4 ]
;   [  0 -1 -2 ]      [ 0   -0.5 -1   ]          [ 0 0 -1 ]
;   [ 11  3 -1 ]      [ 5.5  1.5 -0.5 ]          [ 6 2  0 ]
;
; The machine: offset encoding.  A weight of i4 takes 2 cells of 2 bits; an array of 8 columns
; keeps 1 for the reference and holds 7 // 2 = 3 weights a row, so 9 columns take 3 arrays.
; Inputs of i4 stream 2 bits at a time: 2 planes.  A fire takes 2 planes x 4 columns = 8 cycles.
;
; Counts:
;   instructions   clear + 4 x (drive, fire, 9 sums, 9 accums) + 9 x 4 of the last loop  117
;   rounds         4 input pixels                                                           4
;   drives         4 rounds x 1 row x 2 planes x 3 column tiles                            24
;   cell_reads     4 rounds x 1 row x 2 planes x (9 columns x 2 slices + 3 references)    168
;   activations    4 rounds x 3 arrays x 2 planes                                          24
;   conversions    4 rounds x 2 planes x (9 columns x 2 slices + 3 reference columns)     168
;   shift_adds     4 rounds x 2 planes x 9 columns x 2 slices                             144
;   sums           4 rounds x 9 accums + 9 biases                                          45
;   buffer_reads   4 drives x 4 bits + 36 accums x 8 bits + 9 loads x 8 bits              376
;   buffer_writes  clear 9 x 8 bits + 36 accums x 8 bits + 9 stores x 8 bits              432
;   vector_ops     9 requantisations                                                        9
;
; Cycles, with 2 adders and ports of 24 bits, 3 values of %acc a cycle: up to the first fire
; max(clear 72/24, driver 1) = 3; three windows from fire to fire of
; max(fire 8, driver 1, adder 9/2 = 5, read 72/24, write 72/24) = 8; the last fire 8 and behind it
; its 9 accums, max(adder 5, read 3, write 3) = 5.  The first load of %acc waits for them; then
; the second loop takes max(adder 5, vector 9, read 3, write 3) = 9.
; 3 + 3*8 + 8 + 5 + 9 = 49.

.isa    1
.target "by hand" rows 2 columns 8 arrays any cell 2 encoding offset pair shared dac 2 adc 8 share 4 adders 2 vector 1 read 24 write 24
.input  %x u4[1, 2, 2, 1] scale 0.5 zero 8 onnx "x" f32[1, 1, 2, 2] axis 1
.buffer %acc i8[1, 3, 3, 1]
.output %y u8[1, 3, 3, 1] scale 1.0 zero 10 onnx "y" f32[1, 1, 3, 3] axis 1
.const  "weight" i4[1, 9] = 1, 0, -1, 2, 3, 1, 0, -2, 1
.const  "bias" i8[1] = 2
.const  "scale" f32[1] = 0.5
.xbar   @k 1 x 9*1 i4 in i4 data "weight" place 0

.layer  "up" op "ConvTranspose" mapping "padding-free"
clear %acc
loop i0, 0, 2
  loop i1, 0, 2
    drive @k, %x[0, i0, i1]
    fire @k
    sum v0, @k                                  ; kernel pixel (0, 0)
    sum v1, @k.1
    sum v2, @k.2
    sum v3, @k.3
    sum v4, @k.4
    sum v5, @k.5
    sum v6, @k.6
    sum v7, @k.7
    sum v8, @k.8
    accum %acc?[0, 2*i0 - 1, 2*i1 - 1], v0
    accum %acc?[0, 2*i0 - 1, 2*i1], v1
    accum %acc?[0, 2*i0 - 1, 2*i1 + 1], v2
    accum %acc?[0, 2*i0, 2*i1 - 1], v3
    accum %acc?[0, 2*i0, 2*i1], v4
    accum %acc?[0, 2*i0, 2*i1 + 1], v5
    accum %acc?[0, 2*i0 + 1, 2*i1 - 1], v6
    accum %acc?[0, 2*i0 + 1, 2*i1], v7
    accum %acc?[0, 2*i0 + 1, 2*i1 + 1], v8
  end
end
loop o0, 0, 3
  loop o1, 0, 3
    load v0, %acc[0, o0, o1]
    sum v0, v0, "bias"
    quant v0, v0, "scale", zero=10, low=0, high=255
    store %y[0, o0, o1], v0
  end
end
