//go:build !noinspect

package inspecthttp_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
	"github.com/asyncinspect/asyncinspect/sdk/inspecthttp"
)

// Both ends: each request is a task of the server, and a wait of the client's task.
func Example() {
	ctx := context.Background()
	// Nothing is sent here: there is no collector.
	ins, err := inspect.Start(ctx, inspect.WithSamplingRate(0), inspect.WithReports(false))
	if err != nil {
		log.Fatal(err)
	}
	defer ins.Shutdown(ctx)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders/{item}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s: %s", inspect.TaskFromContext(r.Context()).Name(), r.PathValue("item"))
	})
	server := httptest.NewServer(inspecthttp.NewHandler(mux))
	defer server.Close()

	ctx, task := inspect.Begin(ctx, "buy")
	defer task.End(nil)
	request, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/orders/tea", nil)
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: inspecthttp.NewTransport(http.DefaultTransport)}
	response, err := client.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	var body [64]byte
	n, _ := response.Body.Read(body[:])
	fmt.Println(string(body[:n]))
	// Output: GET /orders/{item}: tea
}
