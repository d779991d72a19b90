; The vector unit: of two neighbours the maximum, the minimum (at most 2) and the product, side by
; side in the vector of the result.
;
;   x, two channels, four pixels.  In %x: 1 -3, 2 3, 4 -1, 3 0.
;   Neighbours: maxima 2 3 and 4 0; minima 1 -3 and 3 -1, at most 2: 2 -1; products 2 -9 and 12 0.
;
; Counts, for each of two rounds: 2 loads of 2 values of 5 bits (20), 3 stores of as many values of
; 11 bits (66); vector operations: 2 for max, 2 * 2 for min (three terms), 2 for mul; 8 instructions.
;
; Cycles, a layer without a fire is one window: 2 rounds of max(read 20/10, vector 8/2,
; write 66/22) = 4, 8 in all.

.isa    1
.target "by hand" rows any columns any arrays any cell 2 encoding differential pair shared dac 1 adc 8 share 8 adders 1 vector 2 read 10 write 22
.input  %x i5[4, 2] scale 1.0 zero 0 onnx "x" f32[2, 4] axis 0
.output %y i11[2, 6] scale 1.0 zero 0 onnx "y" f32[6, 2] axis 0
.const  "most" i8[1] = 2

.layer  "neighbours" tensor "y"
loop q, 0, 2
  load v0, %x[2*q]
  load v1, %x[2*q + 1]
  max v2, v0, v1
  min v3, v0, v1, "most"
  mul v4, v0, v1
  store %y[q, 0:2], v2
  store %y[q, 2:4], v3
  store %y[q, 4:6], v4
end
