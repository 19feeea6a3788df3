package inspect

import (
	"context"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
)

// NewSpanExporter returns an exporter that replaces each invalid byte of a span's texts
// by U+FFFD, and exports the span with base. OTLP texts are UTF-8: without this one
// invalid byte, in an error text in Latin-1 for instance, loses the whole batch of spans.
//
// The Inspector's own provider always exports like this. The SDK puts only valid texts
// on the spans of your own provider. Wrap your exporter to clean the spans of other
// libraries:
//
//	sdktrace.WithBatcher(inspect.NewSpanExporter(exporter))
//
// Each text is checked once; valid spans are not copied. The returned exporter may be
// used concurrently if base may.
func NewSpanExporter(base sdktrace.SpanExporter) sdktrace.SpanExporter { return validExporter{base} }

type validExporter struct{ sdktrace.SpanExporter }

func (e validExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	valid, copied := spans, false
	var of origin
	for i, s := range spans {
		v := validSpanOf(s, &of)
		if v == nil {
			continue
		}
		if !copied { // the slice belongs to the caller
			valid, copied = append([]sdktrace.ReadOnlySpan(nil), spans...), true
		}
		valid[i] = v
	}
	return e.SpanExporter.ExportSpans(ctx, valid)
}

// origin remembers the resource and the scope that were looked at last: the spans of a
// batch have few.
type origin struct {
	resource, validResource *resource.Resource
	scope, validScope       instrumentation.Scope
	looked                  bool
}

func (o *origin) look(s sdktrace.ReadOnlySpan) (changed bool) {
	if r := s.Resource(); !o.looked || r != o.resource {
		o.resource, o.validResource = r, r
		validResource(&o.validResource)
	}
	if scope := s.InstrumentationScope(); !o.looked || scope != o.scope {
		o.scope, o.validScope = scope, scope
		validScope(&o.validScope)
	}
	o.looked = true
	return o.resource != o.validResource || o.scope != o.validScope
}

// validSpan is a span with valid texts in the place of its own.
type validSpan struct {
	sdktrace.ReadOnlySpan
	name       string
	attributes []attribute.KeyValue
	events     []sdktrace.Event
	links      []sdktrace.Link
	status     sdktrace.Status
	resource   *resource.Resource
	scope      instrumentation.Scope
}

// validSpanOf returns a span with valid texts, or nil if those of s are valid.
func validSpanOf(s sdktrace.ReadOnlySpan, of *origin) *validSpan {
	changed := of.look(s)
	v := &validSpan{
		ReadOnlySpan: s, name: s.Name(), attributes: s.Attributes(), events: s.Events(), links: s.Links(),
		status: s.Status(), resource: of.validResource, scope: of.validScope,
	}
	changed = validText(&v.name) || changed
	changed = validText(&v.status.Description) || changed
	changed = validAttributes(&v.attributes) || changed
	changed = v.validEvents() || changed
	changed = v.validLinks() || changed
	if !changed {
		return nil
	}
	return v
}

func (v *validSpan) Name() string                                { return v.name }
func (v *validSpan) Attributes() []attribute.KeyValue            { return v.attributes }
func (v *validSpan) Events() []sdktrace.Event                    { return v.events }
func (v *validSpan) Links() []sdktrace.Link                      { return v.links }
func (v *validSpan) Status() sdktrace.Status                     { return v.status }
func (v *validSpan) Resource() *resource.Resource                { return v.resource }
func (v *validSpan) InstrumentationScope() instrumentation.Scope { return v.scope }

// InstrumentationLibrary is the deprecated name of InstrumentationScope.
//
//lint:ignore SA1019 it is a part of the interface
func (v *validSpan) InstrumentationLibrary() instrumentation.Library {
	return v.scope
}

func (v *validSpan) validEvents() (changed bool) {
	for i := range v.events {
		e := v.events[i]
		changedName := validText(&e.Name)
		if !validAttributes(&e.Attributes) && !changedName {
			continue
		}
		if !changed {
			v.events, changed = append([]sdktrace.Event(nil), v.events...), true
		}
		v.events[i] = e
	}
	return changed
}

func (v *validSpan) validLinks() (changed bool) {
	for i := range v.links {
		l := v.links[i]
		if !validAttributes(&l.Attributes) {
			continue
		}
		if !changed {
			v.links, changed = append([]sdktrace.Link(nil), v.links...), true
		}
		v.links[i] = l
	}
	return changed
}

// The functions below replace what is not valid, and report whether anything was. They
// never change a slice in place.

func validText(s *string) bool {
	if utf8.ValidString(*s) {
		return false
	}
	*s = wire.Valid(*s)
	return true
}

func validAttributes(attrs *[]attribute.KeyValue) (changed bool) {
	for i := range *attrs {
		a := (*attrs)[i]
		key := string(a.Key)
		changedKey := validText(&key)
		if !validValue(&a.Value) && !changedKey {
			continue
		}
		a.Key = attribute.Key(key)
		if !changed {
			*attrs, changed = append([]attribute.KeyValue(nil), *attrs...), true
		}
		(*attrs)[i] = a
	}
	return changed
}

func validValue(v *attribute.Value) (changed bool) {
	switch v.Type() {
	case attribute.STRING:
		s := v.AsString()
		if changed = validText(&s); changed {
			*v = attribute.StringValue(s)
		}
	case attribute.STRINGSLICE:
		list := v.AsStringSlice() // a copy
		for i := range list {
			changed = validText(&list[i]) || changed
		}
		if changed {
			*v = attribute.StringSliceValue(list)
		}
	case attribute.SLICE:
		list := v.AsSlice() // a copy
		for i := range list {
			changed = validValue(&list[i]) || changed
		}
		if changed {
			*v = attribute.SliceValue(list...)
		}
	}
	return changed
}

func validSet(set *attribute.Set) (attribute.Set, bool) {
	attrs := set.ToSlice()
	if !validAttributes(&attrs) {
		return *set, false
	}
	return attribute.NewSet(attrs...), true
}

func validResource(r **resource.Resource) {
	set, changed := validSet((*r).Set())
	schema := (*r).SchemaURL()
	if validText(&schema) || changed {
		*r = resource.NewWithAttributes(schema, set.ToSlice()...)
	}
}

func validScope(s *instrumentation.Scope) {
	validText(&s.Name)
	validText(&s.Version)
	validText(&s.SchemaURL)
	if set, changed := validSet(&s.Attributes); changed {
		s.Attributes = set
	}
}
