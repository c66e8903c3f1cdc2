//! Puts an ONNX graph together, node by node.

use super::proto::attribute_proto::AttributeType;
use super::proto::tensor_proto::DataType;
use super::proto::tensor_shape_proto::{Dimension, dimension::Value as Extent};
use super::proto::type_proto::{Tensor as TensorType, Value as TypeValue};
use super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

/// Versions of the file format and of the operators, which engines of the last years read.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// A number in a tensor.
pub(super) trait Element: Copy {
    const TYPE: DataType;
    /// Appends the bytes of `raw_data`.
    fn write(self, bytes: &mut Vec<u8>);
}

macro_rules! element {
    ($($number:ty: $type:ident),*) => {$(
        impl Element for $number {
            const TYPE: DataType = DataType::$type;
            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    )*};
}
element!(f32: Float, u8: Uint8, i8: Int8, i32: Int32, i64: Int64);

/// A value in the graph, by its name.
pub(super) type Value = String;

/// A graph that grows; every node comes after its inputs.
#[derive(Default)]
pub(super) struct Builder {
    graph: GraphProto,
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        let mut builder = Self::default();
        builder.graph.name = name.to_owned();
        builder
    }

    /// Declares an input.
    pub(super) fn input<T: Element>(&mut self, name: &str, shape: &[Extent]) -> Value {
        self.graph.input.push(info::<T>(name, shape));
        name.to_owned()
    }

    /// Declares the value of this name an output.
    pub(super) fn output<T: Element>(&mut self, name: &str, shape: &[Extent]) {
        self.graph.output.push(info::<T>(name, shape));
    }

    /// A constant; no dimensions make a scalar.
    pub(super) fn constant<T: Element>(
        &mut self,
        name: &str,
        dims: &[usize],
        values: &[T],
    ) -> Value {
        debug_assert_eq!(dims.iter().product::<usize>(), values.len(), "{name}");
        let mut raw_data = Vec::with_capacity(size_of_val(values));
        values.iter().for_each(|value| value.write(&mut raw_data));
        self.graph.initializer.push(TensorProto {
            dims: dims.iter().map(|&n| n as i64).collect(),
            data_type: T::TYPE.into(),
            name: name.to_owned(),
            raw_data,
        });
        name.to_owned()
    }

    /// A node of one output, both under `name`; an empty input is one that is left out.
    pub(super) fn node(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> Value {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: op.to_owned(),
            attribute: attributes,
        });
        name.to_owned()
    }

    /// The finished file with these properties.
    pub(super) fn finish(self, properties: &[(&str, String)]) -> ModelProto {
        let property = |(key, value): &(&str, String)| StringStringEntryProto {
            key: (*key).to_owned(),
            value: value.clone(),
        };
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: "patchwire".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: OPSET,
            }],
            metadata_props: properties.iter().map(property).collect(),
        }
    }
}

fn info<T: Element>(name: &str, shape: &[Extent]) -> ValueInfoProto {
    let dimension = |extent: &Extent| Dimension {
        value: Some(extent.clone()),
    };
    let tensor = TensorType {
        elem_type: T::TYPE.into(),
        shape: Some(TensorShapeProto {
            dim: shape.iter().map(dimension).collect(),
        }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(TypeValue::TensorType(tensor)),
        }),
    }
}

/// A dimension of a fixed size.
pub(super) fn fixed(count: usize) -> Extent {
    Extent::DimValue(count as i64)
}

/// A dimension that the caller chooses.
pub(super) fn free(name: &str) -> Extent {
    Extent::DimParam(name.to_owned())
}

/// An attribute that is a number.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: value,
        r#type: AttributeType::Int.into(),
        ..AttributeProto::default()
    }
}

/// An attribute that is a list of numbers.
pub(super) fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ints: values.iter().map(|&n| n as i64).collect(),
        r#type: AttributeType::Ints.into(),
        ..AttributeProto::default()
    }
}

/// An attribute that is a word.
pub(super) fn word(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        s: value.into(),
        r#type: AttributeType::String.into(),
        ..AttributeProto::default()
    }
}
