//! The exports of a component: one adapter a world between the generated bindings and the traits.

use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic;

use crate::backend::Reader;
use crate::body::BodyReader;
use crate::plugin::{Authorize, Config, ConfigError, Description, Observe, Transform};
use crate::record::{
    Attribute, Body, Context, Decision, Draft, Head, Message, Obligation, Outcome, Party, Phase, Refusal,
    Request,
};

/// The imports of every world, and the types that all share. The generated code is unsafe at the ABI and undocumented.
#[allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "
            package hilum:guest;
            world imports {
                include hilum:plugin/capabilities@1.1.0;
                import hilum:plugin/state@1.1.0;
                import hilum:plugin/emit@1.1.0;
                import hilum:plugin/timing@1.1.0;
            }
        ",
        world: "hilum:guest/imports",
        generate_all,
    });
}

pub use wit_bindgen::rt;

/// What every plugin exports. A component is a merger of this world and one of the next three.
#[allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod describe {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "
            package hilum:guest;
            world describe-exports {
                export hilum:plugin/plugin@1.1.0;
            }
        ",
        world: "hilum:guest/describe-exports",
        runtime_path: "::hilum_plugin::export::rt",
        pub_export_macro: true,
        export_macro_name: "export_describe_interface",
        default_bindings_module: "::hilum_plugin::export::describe",
        with: { "hilum:plugin/types@1.1.0": crate::export::bindings::hilum::plugin::types },
    });
}

/// What the world `transform` exports besides.
#[allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod transform {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "
            package hilum:guest;
            world transform-exports {
                export hilum:plugin/transformer@1.1.0;
            }
        ",
        world: "hilum:guest/transform-exports",
        runtime_path: "::hilum_plugin::export::rt",
        pub_export_macro: true,
        export_macro_name: "export_transform_interface",
        default_bindings_module: "::hilum_plugin::export::transform",
        with: { "hilum:plugin/types@1.1.0": crate::export::bindings::hilum::plugin::types },
    });
}

/// What the world `authorize` exports besides.
#[allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod authorize {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "
            package hilum:guest;
            world authorize-exports {
                export hilum:plugin/authorizer@1.1.0;
            }
        ",
        world: "hilum:guest/authorize-exports",
        runtime_path: "::hilum_plugin::export::rt",
        pub_export_macro: true,
        export_macro_name: "export_authorize_interface",
        default_bindings_module: "::hilum_plugin::export::authorize",
        with: { "hilum:plugin/types@1.1.0": crate::export::bindings::hilum::plugin::types },
    });
}

/// What the world `observe` exports besides.
#[allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod observe {
    wit_bindgen::generate!({
        path: "../../wit/v1",
        inline: "
            package hilum:guest;
            world observe-exports {
                export hilum:plugin/observer@1.1.0;
            }
        ",
        world: "hilum:guest/observe-exports",
        runtime_path: "::hilum_plugin::export::rt",
        pub_export_macro: true,
        export_macro_name: "export_observe_interface",
        default_bindings_module: "::hilum_plugin::export::observe",
        with: { "hilum:plugin/types@1.1.0": crate::export::bindings::hilum::plugin::types },
    });
}

use bindings::hilum::plugin::types as raw;

thread_local! {
    /// The configured plugin, with its configuration for `describe`. A component has one thread and one plugin.
    static INSTANCE: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

struct Instance<P> {
    plugin: P,
    described: Description,
}

/// Runs on the configured plugin. A call before `configure` or from within another traps.
fn instance<P: 'static, R>(f: impl FnOnce(&mut Instance<P>) -> R) -> R {
    INSTANCE.with_borrow_mut(|slot| {
        let any = slot.as_mut().expect("`configure` comes first");
        f(any.downcast_mut().expect("one component exports one plugin"))
    })
}

fn describe<P: 'static>(unconfigured: impl FnOnce() -> Description) -> raw::Description {
    let configured = INSTANCE.with_borrow(|slot| {
        let instance = slot.as_ref()?.downcast_ref::<Instance<P>>()?;
        Some(instance.described.clone())
    });
    let Description { name, version, config_schema, removes, content_types } =
        configured.unwrap_or_else(unconfigured);
    raw::Description { name, version, config_schema, removes, content_types }
}

/// Takes the configuration, and from now on reports a panic by its place alone: its message could hold a value of a record.
fn configure<P: 'static, C: Config>(
    config: &str,
    describe: impl FnOnce(&C) -> Description,
    make: impl FnOnce(C) -> Result<P, ConfigError>,
) -> Result<(), raw::ConfigError> {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        crate::log::error(format!("the plugin panicked{place}"));
    }));
    let config: C = serde_json::from_str(config)
        .map_err(|error| raw::ConfigError { at: String::new(), reason: error.to_string() })?;
    let described = describe(&config);
    let plugin = make(config).map_err(|ConfigError { at, reason }| raw::ConfigError { at, reason })?;
    INSTANCE.set(Some(Box::new(Instance { plugin, described })));
    Ok(())
}

/// Exports a [`Transform`].
pub struct Transformer<P>(PhantomData<P>);

impl<P: Transform> describe::exports::hilum::plugin::plugin::Guest for Transformer<P> {
    fn describe() -> raw::Description {
        describe::<P>(|| P::describe(None))
    }

    fn configure(config: String) -> Result<(), raw::ConfigError> {
        configure(&config, |config| P::describe(Some(config)), P::configure)
    }
}

impl<P: Transform> transform::exports::hilum::plugin::transformer::Guest for Transformer<P> {
    fn transform(
        of: raw::Context,
        messages: Vec<raw::Message>,
    ) -> Vec<transform::exports::hilum::plugin::transformer::Outcome> {
        let (context, messages) = (of.into(), all(messages));
        instance(|of: &mut Instance<P>| all(of.plugin.transform_batch(&context, messages)))
    }
}

/// Exports an [`Authorize`].
pub struct Authorizer<P>(PhantomData<P>);

impl<P: Authorize> describe::exports::hilum::plugin::plugin::Guest for Authorizer<P> {
    fn describe() -> raw::Description {
        describe::<P>(|| P::describe(None))
    }

    fn configure(config: String) -> Result<(), raw::ConfigError> {
        configure(&config, |config| P::describe(Some(config)), P::configure)
    }
}

impl<P: Authorize> authorize::exports::hilum::plugin::authorizer::Guest for Authorizer<P> {
    fn decide(
        of: raw::Context,
        requests: Vec<authorize::exports::hilum::plugin::authorizer::Request>,
    ) -> Vec<authorize::exports::hilum::plugin::authorizer::Decision> {
        let context: Context = of.into();
        instance(|of: &mut Instance<P>| {
            let decide = |request: authorize::exports::hilum::plugin::authorizer::Request| {
                of.plugin.decide(&context, request.into()).into()
            };
            requests.into_iter().map(decide).collect()
        })
    }
}

/// Exports an [`Observe`].
pub struct Observer<P>(PhantomData<P>);

impl<P: Observe> describe::exports::hilum::plugin::plugin::Guest for Observer<P> {
    fn describe() -> raw::Description {
        describe::<P>(|| P::describe(None))
    }

    fn configure(config: String) -> Result<(), raw::ConfigError> {
        configure(&config, |config| P::describe(Some(config)), P::configure)
    }
}

impl<P: Observe> observe::exports::hilum::plugin::observer::Guest for Observer<P> {
    fn observe(of: raw::Context, messages: Vec<raw::Message>) {
        let (context, messages) = (of.into(), all(messages));
        instance(|of: &mut Instance<P>| of.plugin.observe(&context, messages));
    }

    fn tick(now: u64) {
        instance(|of: &mut Instance<P>| of.plugin.tick(now));
    }
}

fn all<A: Into<B>, B>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(Into::into).collect()
}

impl From<raw::Party> for Party {
    fn from(raw::Party { principal, stakeholder, zone, roles }: raw::Party) -> Self {
        Self { principal, stakeholder, zone, roles }
    }
}

impl From<raw::Context> for Context {
    fn from(of: raw::Context) -> Self {
        let raw::Context { flow, class, stage, phase, recipient, purpose, source } = of;
        let phase = match phase {
            raw::Phase::Ingress => Phase::Ingress,
            raw::Phase::Egress => Phase::Egress,
        };
        Self {
            flow,
            class,
            stage,
            phase,
            recipient: recipient.map(Into::into),
            purpose,
            source: source.into(),
        }
    }
}

impl From<raw::Attribute> for Attribute {
    fn from(raw::Attribute { name, value }: raw::Attribute) -> Self {
        Self { name, value }
    }
}

impl From<Attribute> for raw::Attribute {
    fn from(Attribute { name, value }: Attribute) -> Self {
        Self { name, value }
    }
}

impl From<raw::Head> for Head {
    fn from(of: raw::Head) -> Self {
        let raw::Head { offset, time, key, content_type, labels, attributes } = of;
        Self { offset, time, key, content_type, labels, attributes: all(attributes) }
    }
}

impl From<raw::Message> for Message {
    fn from(raw::Message { head, body }: raw::Message) -> Self {
        let body = match body {
            raw::Body::Inline(octets) => Body::Inline(octets),
            raw::Body::Large(reader) => Body::Large(BodyReader::new(Reader(reader))),
        };
        Self { head: head.into(), body }
    }
}

impl From<Draft> for raw::Draft {
    fn from(Draft { key, content_type, attributes, body }: Draft) -> Self {
        let body = match body {
            Body::Inline(octets) => raw::Body::Inline(octets),
            Body::Large(reader) => raw::Body::Large(reader.source.0),
        };
        Self { key, content_type, attributes: all(attributes), body }
    }
}

impl From<Refusal> for raw::Refusal {
    fn from(Refusal { code, reason }: Refusal) -> Self {
        Self { code, reason }
    }
}

impl From<Outcome> for transform::exports::hilum::plugin::transformer::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass => Self::Pass,
            Outcome::Annotate(attributes) => Self::Annotate(all(attributes)),
            Outcome::Replace(draft) => Self::Replace(draft.into()),
            Outcome::Split(drafts) => Self::Split(all(drafts)),
            Outcome::Refuse(refusal) => Self::Refuse(refusal.into()),
        }
    }
}

impl From<authorize::exports::hilum::plugin::authorizer::Request> for Request {
    fn from(of: authorize::exports::hilum::plugin::authorizer::Request) -> Self {
        let body = BodyReader::new(Reader(of.body));
        Self { head: of.head.into(), size: of.size, body }
    }
}

impl From<Decision> for authorize::exports::hilum::plugin::authorizer::Decision {
    fn from(decision: Decision) -> Self {
        use authorize::exports::hilum::plugin::authorizer::Obligation as Raw;
        let raw = |Obligation { name, value }| Raw { name, value };
        match decision {
            Decision::Allow => Self::Allow,
            Decision::AllowWith(obligations) => Self::AllowWith(obligations.into_iter().map(raw).collect()),
            Decision::Deny(refusal) => Self::Deny(refusal.into()),
        }
    }
}
