package e2e

import (
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What a collector has acknowledged is in its CSV files, however often it is
// killed: with a persistent queue in front of csv_rotate.
func TestKilledCollectorLosesNoRow(t *testing.T) {
	t.Parallel()
	const kills = 8
	directory := filepath.Join(t.TempDir(), "csv")
	collector := startCollector(t,
		"exporters:\n  file:", fmt.Sprintf(`extensions:
  file_storage: {directory: %q, create_directory: true}
exporters:
  csv_rotate:
    directory: %q
    columns: [name, state, http.route]
    fsync: always
    rotation: {max_rows: 50}
    min_free_bytes: 0
    sending_queue: {storage: file_storage}
  file:`, filepath.Join(t.TempDir(), "queue"), directory),
		"exporters: [file]", "exporters: [csv_rotate]",
		"service:\n", "service:\n  extensions: [file_storage]\n")
	collector.kill(os.Interrupt)

	var acknowledged []string
	post := func(name string) error {
		body := fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%032x","spanId":"%016x","name":%q,"kind":2,
			"startTimeUnixNano":"1","endTimeUnixNano":"2","attributes":[{"key":"http.route","value":{"stringValue":"a \"b\",\nc"}}]}]}]}]}`,
			rand.Uint64()|1, rand.Uint64()|1, name)
		response, err := http.Post("http://"+collector.http+"/v1/traces", "application/json", strings.NewReader(body))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", response.Status)
		}
		acknowledged = append(acknowledged, name)
		return nil
	}
	for kill := range kills {
		collector.start(t)
		timer := time.AfterFunc(time.Duration(100+rand.IntN(400))*time.Millisecond, func() { _ = collector.cmd.Process.Signal(killed) })
		for i := 0; post(fmt.Sprintf("task %d-%d", kill, i)) == nil; i++ {
		}
		<-collector.exited
		timer.Stop()
	}
	collector.start(t)
	eventually(t, time.Minute, "an empty queue", func() error {
		n, err := collector.sum("otelcol_exporter_queue_size", nil)
		if err == nil && n > 0 {
			err = fmt.Errorf("%v are in it", n)
		}
		return err
	})
	collector.kill(os.Interrupt)

	files, err := filepath.Glob(filepath.Join(directory, "[^.]*"))
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]bool)
	for _, path := range files {
		if !strings.HasSuffix(path, ".csv") {
			t.Errorf("%s is not a finished file", path)
			continue
		}
		_, read := readCSV(t, path)
		for _, row := range read {
			if row[1] != "completed" || row[2] != "a \"b\",\nc" {
				t.Fatalf("%s: %q", path, row)
			}
			rows[row[0]] = true
		}
	}
	for _, name := range acknowledged {
		if !rows[name] {
			t.Errorf("%s was acknowledged and is in no file", name)
		}
	}
	if len(acknowledged) < kills {
		t.Errorf("only %d spans were acknowledged: there was nothing to lose", len(acknowledged))
	}
	t.Logf("%d kills, %d rows acknowledged, %d files", kills, len(acknowledged), len(files))
}

// readCSV returns where each column is, and the rows.
func readCSV(t *testing.T, path string) (column map[string]int, rows [][]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err = csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	column = make(map[string]int)
	for i, name := range rows[0] {
		column[name] = i
	}
	return column, rows[1:]
}
