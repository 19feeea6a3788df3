package inspector

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

func document(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	require.NoError(t, err)
	require.NoError(t, doc.Validate(context.Background(), openapi3.IsOpenAPI31OrLater()))
	return doc
}

// Every documented path is served, and the other way round.
func TestTheDocumentAndTheServerHaveTheSamePaths(t *testing.T) {
	x := unstarted(t, testConfig())
	var served, documented []string
	for path := range x.routes() {
		served = append(served, path)
	}
	for path := range document(t).Paths.Map() {
		documented = append(documented, path)
	}
	require.ElementsMatch(t, served, documented)
}

// schemaOf is the schema of an answer.
func schemaOf(t testing.TB, doc *openapi3.T, path string, status int, contentType string) *openapi3.Schema {
	t.Helper()
	answer := doc.Paths.Value(path).Get.Responses.Status(status)
	require.NotNil(t, answer, "%s is not said to answer %d", path, status)
	media, _, _ := strings.Cut(contentType, ";")
	content := answer.Value.Content[media]
	require.NotNil(t, content, "%s is not said to answer %d with %s", path, status, media)
	return content.Schema.Value
}

func conforms(t testing.TB, schema *openapi3.Schema, data []byte) {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(data, &v))
	require.NoError(t, schema.VisitJSON(v, openapi3.EnableJSONSchema2020(), openapi3.EnableFormatValidation(), openapi3.MultiErrors()), "%s", data)
}

// Real answers about a fleet with a deadlock, and errors, are what the document says.
func TestAnswersAreWhatTheDocumentSays(t *testing.T) {
	doc := document(t)
	x := unstarted(t, testConfig())
	deadlocked(t, x)
	x.RegisterAdaptiveSampler("adaptive_sampler", aSampler())
	x.look(time.Now(), true)
	dl := x.picture.get().standing[0].ID.String()
	next := answers[taskList](t, x, "/api/v1/tasks?limit=1").NextCursor
	require.NotNil(t, next)
	first := answers[taskList](t, x, "/api/v1/tasks?limit=1").Tasks[0]
	answered := make(map[string]bool)
	for path, targets := range map[string][]string{
		"/api/v1/overview":  {"", "?x=1"},
		"/api/v1/tasks":     {"", "?limit=1&cursor=" + *next, "?format=csv", "?state=deadlocked,blocked&state=running&live=true&min_age=1s&q=MOVE&sort=-age", "?limit=0", "?trace=x"},
		"/api/v1/deadlocks": {"", "?status=standing&service=shop", "?format=csv", "?cursor=x"},
		"/api/v1/tasks/{trace}/{span}": {
			"/" + first.TraceID + "/" + first.SpanID, "/" + first.TraceID + "/0000000000000001", "/x/y",
		},
		"/api/v1/deadlocks/{id}": {"/" + dl, "/" + strings.Repeat("a", 32), "/x"},
		"/api/v1/inversions":     {"", "?service=none", "?limit=a"},
		"/api/v1/graph":          {"", "?only=stuck&limit=1", "?format=dot", "?format=mermaid", "?format=svg"},
		"/api/v1/processes":      {"", "?gone=true", "?gone=maybe"},
		"/api/v1/resources":      {"", "?sort=waiting&q=north&kind=mutex", "?format=csv", "?sort=x"},
		"/api/v1/sampling":       {"", "?x=1"},
		"/api/v1/memory":         {"", "?x=1"},
		"/api/v1/config":         {"", "?x=1"},
		"/api/v1/openapi.yaml":   {""},
		"/livez":                 {""},
		"/readyz":                {""},
		"/metrics":               {""},
	} {
		base, _, _ := strings.Cut(path, "/{")
		for _, target := range targets {
			w := x.get(base + target)
			schema := schemaOf(t, doc, path, w.Code, w.Header().Get("Content-Type"))
			if strings.Contains(w.Header().Get("Content-Type"), "json") {
				conforms(t, schema, w.Body.Bytes())
			}
			answered[path] = answered[path] || w.Code == http.StatusOK
		}
	}
	for path := range x.routes() {
		require.True(t, answered[path] || path == "/api/v1/events", "%s was not answered", path)
	}
}

// Every parameter that is documented is read, and every one that is read documented.
func TestParametersAreWhatTheDocumentSays(t *testing.T) {
	doc := document(t)
	x := unstarted(t, testConfig())
	read := func(path string, f func(q *query) (any, error)) {
		q := newQuery(httptest.NewRequest(http.MethodGet, path, nil).URL)
		_, err := f(q)
		require.NoError(t, err, path)
		var names, documented []string
		for name := range q.read {
			names = append(names, name)
		}
		for _, p := range doc.Paths.Value(path).Get.Parameters {
			documented = append(documented, p.Value.Name)
		}
		require.ElementsMatch(t, documented, names, path)
	}
	read("/api/v1/overview", x.getOverview)
	read("/api/v1/tasks", x.listTasks)
	read("/api/v1/deadlocks", x.listDeadlocks)
	read("/api/v1/inversions", x.listInversions)
	read("/api/v1/graph", x.getGraph)
	read("/api/v1/processes", x.listProcesses)
	read("/api/v1/resources", x.listResources)
	read("/api/v1/sampling", x.getSampling)
	read("/api/v1/memory", x.getMemory)
	read("/api/v1/config", x.getConfig)
	sorts := doc.Paths.Value("/api/v1/tasks").Get.Parameters.GetByInAndName("query", "sort").Schema.Value.Enum
	require.Equal(t, len(taskSorts), len(sorts))
	for _, sort := range taskSorts {
		require.Contains(t, sorts, any(sort))
	}
	require.Equal(t, apiVersion, doc.Info.Version)
}
