; Flatten: a buffer keeps channels last, the ONNX tensor behind it keeps them where `axis` says, and
; `reshape` follows the tensor.
;
;   x, ONNX [1, 2, 1, 2]: channel 0 is 1 2, channel 1 is 3 4.   In %x: pixel 0 is 1 3, pixel 1 is 2 4.
;   Flattened, ONNX [1, 4]: 1 2 3 4.  Times 1 2 3 4: 1 4 9 16.
;
; Counts: reshape reads and writes 4 values of 8 bits (32 bits each way); the second layer reads
; 32 bits, multiplies 4 values and writes 4 values of 16 bits (64); 1 and 3 instructions.
;
; Cycles: reshape max(read 32/32, write 32/32) = 1; the second layer max(1, vector 4/4,
; write 64/32) = 2.

.isa    1
.target "by hand" rows any columns any arrays any cell 2 encoding differential pair shared dac 1 adc 8 share 8 adders 1 vector 4 read 32 write 32
.input  %x i8[1, 1, 2, 2] scale 1.0 zero 0 onnx "x" f32[1, 2, 1, 2] axis 1
.buffer %f i8[1, 4] scale 1.0 zero 0 onnx "f" f32[1, 4] axis 1
.output %y i16[1, 4] scale 1.0 zero 0 onnx "y" f32[1, 4] axis 1
.const  "factors" i8[4] = 1, 2, 3, 4

.layer  "flatten" op "Flatten" tensor "f"
reshape %f, %x

.layer  "multiply" op "Mul" tensor "y"
load v0, %f[0]
mul v0, v0, "factors"
store %y[0], v0
