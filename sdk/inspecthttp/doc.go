// Package inspecthttp makes the requests of net/http visible to async-inspect: a
// handler whose requests are tasks, and a transport whose requests are waits for
// another process. If both ends use it, a deadlock over services can be seen.
//
// It works by itself and beside otelhttp. Put the handler inside of otelhttp's and
// the transport below otelhttp's:
//
//	handler := otelhttp.NewHandler(inspecthttp.NewHandler(mux), "shop")
//	transport := otelhttp.NewTransport(inspecthttp.NewTransport(http.DefaultTransport))
//
// Then the spans are otelhttp's, and the tasks are children of its server spans.
// Without otelhttp the tasks are the server spans, and the transport makes the
// client spans and sends traceparent on.
package inspecthttp
