//! Puts an ONNX graph together, node by node.

use super::proto::{
    ATTRIBUTE_INT, ATTRIBUTE_INTS, ATTRIBUTE_STRING, Attribute, Dimension, Extent, Graph, Model,
    Node, OperatorSet, Property, Shape, Tensor, TensorType, Type, ValueInfo,
};

/// Version of the file's own format, and of the operators: what engines of the last years read.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// What tensors hold.
pub(super) trait Element: Copy {
    /// `TensorProto.DataType`.
    const TYPE: i32;
    /// Appends the bytes of `raw_data`.
    fn write(self, bytes: &mut Vec<u8>);
}

macro_rules! element {
    ($($number:ty: $code:literal),*) => {$(
        impl Element for $number {
            const TYPE: i32 = $code;
            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    )*};
}
element!(f32: 1, u8: 2, i8: 3, i32: 6, i64: 7);

/// A value in the graph, by its name.
pub(super) type Value = String;

/// A graph that grows; every node comes after what it reads.
#[derive(Default)]
pub(super) struct Builder {
    graph: Graph,
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
        self.graph.initializer.push(Tensor {
            dims: dims.iter().map(|&n| n as i64).collect(),
            data_type: T::TYPE,
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
        attributes: Vec<Attribute>,
    ) -> Value {
        self.graph.node.push(Node {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: op.to_owned(),
            attribute: attributes,
        });
        name.to_owned()
    }

    /// The finished file with these properties.
    pub(super) fn finish(self, properties: &[(&str, String)]) -> Model {
        let property = |(key, value): &(&str, String)| Property {
            key: (*key).to_owned(),
            value: value.clone(),
        };
        Model {
            ir_version: IR_VERSION,
            producer_name: "patchwire".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSet {
                domain: String::new(),
                version: OPSET,
            }],
            metadata_props: properties.iter().map(property).collect(),
        }
    }
}

fn info<T: Element>(name: &str, shape: &[Extent]) -> ValueInfo {
    let dimension = |extent: &Extent| Dimension {
        value: Some(extent.clone()),
    };
    let tensor = TensorType {
        elem_type: T::TYPE,
        shape: Some(Shape {
            dim: shape.iter().map(dimension).collect(),
        }),
    };
    ValueInfo {
        name: name.to_owned(),
        r#type: Some(Type {
            tensor_type: Some(tensor),
        }),
    }
}

/// A dimension of so many.
pub(super) fn fixed(count: usize) -> Extent {
    Extent::Value(count as i64)
}

/// A dimension that the caller chooses.
pub(super) fn free(name: &str) -> Extent {
    Extent::Parameter(name.to_owned())
}

/// An attribute that is a number.
pub(super) fn int(name: &str, value: i64) -> Attribute {
    Attribute {
        name: name.to_owned(),
        i: value,
        r#type: ATTRIBUTE_INT,
        ..Attribute::default()
    }
}

/// An attribute that is a list of numbers.
pub(super) fn ints(name: &str, values: &[usize]) -> Attribute {
    Attribute {
        name: name.to_owned(),
        ints: values.iter().map(|&n| n as i64).collect(),
        r#type: ATTRIBUTE_INTS,
        ..Attribute::default()
    }
}

/// An attribute that is a word.
pub(super) fn word(name: &str, value: &str) -> Attribute {
    Attribute {
        name: name.to_owned(),
        s: value.into(),
        r#type: ATTRIBUTE_STRING,
        ..Attribute::default()
    }
}
