// Package inspecthttp makes the requests of net/http visible to async-inspect: a
// handler whose requests are tasks, and a transport whose requests are waits for
// another process. If both ends use it, a deadlock over services can be seen.
//
// It works by itself: the tasks are the server spans, and the transport makes the
// client spans and sends traceparent on. And it works beside otelhttp, whose spans it
// then uses: its server span is the task. Put the handler inside of otelhttp's, and the transport below
// otelhttp's:
//
//	handler := otelhttp.NewHandler(inspecthttp.NewHandler(mux), "shop")
//	transport := otelhttp.NewTransport(inspecthttp.NewTransport(http.DefaultTransport))
//
// The other way round each request would have two server spans; for a handler that
// must stand outside there is [WithoutServerSpan].
//
// While async-inspect is off, handler and transport pass everything through.
package inspecthttp
