package nestinglimiter

import "strings"

// message is a message of OTLP that an attribute can be in.
type message uint8

const (
	opaque message = iota // what holds no attributes
	value
	array
	list
	keyValue
	resource
	scope
	exemplar

	traceRequest
	resourceSpans
	scopeSpans
	span
	event
	link

	logsRequest
	resourceLogs
	scopeLogs
	logRecord

	metricsRequest
	resourceMetrics
	scopeMetrics
	oneMetric
	numberData
	number
	histogramData
	histogram
	exponentialData
	exponential
	summaryData
	summary

	messages
)

// inner are the messages in a message, by the numbers of their fields.
type inner [lastField + 1]message

// lastField is the largest number in fields.
const lastField = 13

func (f *inner) of(field uint64) message {
	if field > lastField {
		return opaque
	}
	return f[field]
}

// fields are those of opentelemetry-proto 1.10.
var fields = [messages]inner{
	value:    {5: array, 6: list},
	array:    {1: value},
	list:     {1: keyValue},
	keyValue: {2: value},
	resource: {1: keyValue},
	scope:    {3: keyValue},
	exemplar: {7: keyValue},

	traceRequest:  {1: resourceSpans},
	resourceSpans: {1: resource, 2: scopeSpans},
	scopeSpans:    {1: scope, 2: span},
	span:          {9: keyValue, 11: event, 13: link},
	event:         {3: keyValue},
	link:          {4: keyValue},

	logsRequest:  {1: resourceLogs},
	resourceLogs: {1: resource, 2: scopeLogs},
	scopeLogs:    {1: scope, 2: logRecord},
	logRecord:    {5: value, 6: keyValue},

	metricsRequest:  {1: resourceMetrics},
	resourceMetrics: {1: resource, 2: scopeMetrics},
	scopeMetrics:    {1: scope, 2: oneMetric},
	oneMetric:       {5: numberData, 7: numberData, 9: histogramData, 10: exponentialData, 11: summaryData, 12: keyValue},
	numberData:      {1: number},
	number:          {5: exemplar, 7: keyValue},
	histogramData:   {1: histogram},
	histogram:       {8: exemplar, 9: keyValue},
	exponentialData: {1: exponential},
	exponential:     {1: keyValue, 11: exemplar},
	summaryData:     {1: summary},
	summary:         {7: keyValue},
}

// requests are the requests of OTLP by the names of their messages.
var requests = map[string]message{
	"ExportTraceServiceRequest": traceRequest, "ExportLogsServiceRequest": logsRequest, "ExportMetricsServiceRequest": metricsRequest,
}

// requestTo is what an HTTP path takes, whatever stands before it.
func requestTo(path string) message {
	switch {
	case strings.HasSuffix(path, "/traces"):
		return traceRequest
	case strings.HasSuffix(path, "/logs"):
		return logsRequest
	case strings.HasSuffix(path, "/metrics"):
		return metricsRequest
	}
	return opaque
}
