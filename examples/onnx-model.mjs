// Makes small ONNX models for the examples. Each example has its own packages, so it passes protobufjs to encodeModel.
import { fileURLToPath } from 'node:url';

export const float32 = 1;
export const int64 = 7;

/** An input or output of a graph. A dimension is a number, or a name if it varies from run to run. */
export const value = (name, elem_type, dims) => ({
  name,
  type: {
    tensor_type: {
      elem_type,
      shape: { dim: dims.map((dim) => (typeof dim === 'number' ? { dim_value: dim } : { dim_param: dim })) },
    },
  },
});

/** A constant of a graph. */
export const constant = (name, data_type, dims, data) => ({
  name,
  data_type,
  dims,
  raw_data: new Uint8Array(data.buffer),
});

/** One operation of a graph. Its attributes are integers. */
export const operation = (op_type, input, output, attributes = {}) => ({
  op_type,
  input,
  output,
  attribute: Object.entries(attributes).map(([name, i]) => ({ name, i, type: 2 })), // 2: an integer
});

/** The bytes of the model with a graph. */
export function encodeModel(protobuf, graph) {
  const path = fileURLToPath(new URL('onnx.proto', import.meta.url));
  const schema = new protobuf.Root().loadSync(path, { keepCase: true });
  const Model = schema.lookupType('onnx.ModelProto');
  const model = Model.fromObject({
    ir_version: 8,
    producer_name: 'dispatch-layout',
    opset_import: [{ domain: '', version: 13 }],
    graph,
  });
  return Model.encode(model).finish();
}
