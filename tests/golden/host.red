; The host between two layers: h = -x in real values, m = n + n in the tensors' own type.
; x = 0.5, -1.0 is 1, -2 at scale 0.5; the host reads 0.5, -1.0 and gives -0.5, 1.0, which
; are -2, 4 at scale 0.25. The next layer doubles them: -4, 8, or -1.0, 2.0 at scale 0.25.
; No cycle for the host; 2*4 + 2*64 bits go to it, 2*4 + 2*64 come back: 272.
; The last layer has one window: max(read 8/8, vector 2/2, write 16/16) = 1 cycle.
.isa    1
.target "by hand" rows 4 columns 16 arrays 8 cell 4 encoding differential pair shared dac 1 adc 8 share 4 adders 1 vector 2 read 8 write 16
.input  %x i4[2] scale 0.5 zero 0 onnx "x" f32[2] axis 0
.input  %n raw[2] onnx "n" f64[2]
.buffer %h i4[2] scale 0.25 zero 0 onnx "h" f32[2] axis 0
.output %m raw[2] onnx "m" f64[2]
.output %y i8[2] scale 0.25 zero 0 onnx "y" f32[2] axis 0
.const  "part" u8[114] = 8, 8, 58, 104, 10, 13, 10, 1, 120, 18, 1, 104, 34, 3, 78, 101, 103, 58, 0, 10, 16, 10, 1, 110, 10, 1, 110, 18, 1, 109, 34, 3, 65, 100, 100, 58, 0, 18, 1, 112, 90, 15, 10, 1, 120, 18, 10, 10, 8, 8, 1, 18, 4, 10, 2, 8, 2, 90, 15, 10, 1, 110, 18, 10, 10, 8, 8, 11, 18, 4, 10, 2, 8, 2, 98, 15, 10, 1, 104, 18, 10, 10, 8, 8, 1, 18, 4, 10, 2, 8, 2, 98, 15, 10, 1, 109, 18, 10, 10, 8, 8, 11, 18, 4, 10, 2, 8, 2, 66, 4, 10, 0, 16, 13
.const  "two" i8[1] = 2

.layer  "host" op "host" nodes "neg", "add"
host "part", %x, %n, %h, %m, inputs=2

.layer  "double"
load v0, %h[]
mul v0, v0, "two"
store %y[], v0
