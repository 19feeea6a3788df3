// Package inspecthttp makes the requests of net/http visible to async-inspect: a
// handler whose requests are tasks, and a transport whose requests are waits for
// another process. If both sides use it, deadlocks across services are found.
//
// It works alone: the tasks are the server spans, and the transport creates the client
// spans and sends traceparent. It also works with otelhttp and then uses its spans: the
// server span is the task. Put the handler inside otelhttp's, and the transport below
// otelhttp's:
//
//	handler := otelhttp.NewHandler(inspecthttp.NewHandler(mux), "shop")
//	transport := otelhttp.NewTransport(inspecthttp.NewTransport(http.DefaultTransport))
//
// In the opposite order, each request would have two server spans. For a handler that
// must be outside, use [WithoutServerSpan].
//
// While async-inspect is off, handler and transport pass everything through.
package inspecthttp
