package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/confmap"

	"github.com/asyncinspect/asyncinspect/exporter/csvrotate"
	"github.com/asyncinspect/asyncinspect/extension/inspector"
	"github.com/asyncinspect/asyncinspect/extension/nestinglimiter"
	"github.com/asyncinspect/asyncinspect/extension/ratelimiter"
	"github.com/asyncinspect/asyncinspect/processor/adaptivesampler"
	"github.com/asyncinspect/asyncinspect/processor/deadlockdetector"
	"github.com/asyncinspect/asyncinspect/processor/scrubber"
	"github.com/asyncinspect/asyncinspect/processor/taskstate"
)

// The table of each component has every key that its configuration has, with the
// default that it has, and no other. What is stock is described elsewhere.
func TestTablesOfKeysAreTrue(t *testing.T) {
	http := keys(t, confighttp.NewDefaultServerConfig())
	for readme, c := range map[string]struct {
		factory component.Factory
		stock   func(key string) bool
	}{
		"../processor/deadlockdetector/README.md": {factory: deadlockdetector.NewFactory()},
		"../processor/taskstate/README.md":        {factory: taskstate.NewFactory()},
		"../processor/adaptivesampler/README.md":  {factory: adaptivesampler.NewFactory()},
		"../processor/scrubber/README.md":         {factory: scrubber.NewFactory()},
		"../extension/ratelimiter/README.md":      {factory: ratelimiter.NewFactory()},
		"../extension/nestinglimiter/README.md":   {factory: nestinglimiter.NewFactory()},
		"../exporter/csvrotate/README.md": {csvrotate.NewFactory(), func(key string) bool {
			return strings.HasPrefix(key, "sending_queue") || strings.HasPrefix(key, "retry_on_failure")
		}},
		"../extension/inspector/README.md": {inspector.NewFactory(), func(key string) bool {
			_, is := http[key]
			return is || key == "middlewares" || key == "endpoint" || key == "max_request_body_size" || strings.HasSuffix(key, "_timeout")
		}},
	} {
		said := table(t, readme)
		have := keys(t, c.factory.CreateDefaultConfig())
		for key, value := range have {
			top, _, _ := strings.Cut(key, "::")
			if c.stock != nil && c.stock(key) || c.stock != nil && c.stock(top) {
				delete(said, top)
				continue
			}
			says, is := said[key]
			switch {
			case !is:
				t.Errorf("%s does not mention %s", readme, key)
			case says != "" && says != value:
				t.Errorf("%s: the default of %s is %q and not %q", readme, key, value, says)
			}
			delete(said, key)
		}
		for key := range said {
			t.Errorf("%s mentions %s, which is no key", readme, key)
		}
	}
}

// keys returns the keys of a configuration with their values, in the form that tables
// have.
func keys(t *testing.T, config any) map[string]string {
	t.Helper()
	conf := confmap.New()
	if err := conf.Marshal(config); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	var walk func(prefix string, value any)
	walk = func(prefix string, value any) {
		if inner, is := value.(map[string]any); is && len(inner) > 0 {
			for key, v := range inner {
				walk(strings.TrimPrefix(prefix+"::"+key, "::"), v)
			}
			return
		}
		found[prefix] = written(value)
	}
	walk("", conf.ToStringMap())
	return found
}

func written(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case time.Duration:
		return shortDuration(v)
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return shortDuration(d)
		}
		return v
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = written(v[i])
		}
		return "[" + strings.Join(texts, ", ") + "]"
	}
	return fmt.Sprint(value)
}

// shortDuration writes what people write: 1h, 500ms.
func shortDuration(d time.Duration) string {
	return regexp.MustCompile(`([a-z])0[a-z](0s)?$`).ReplaceAllString(d.String(), "$1")
}

// table returns the keys of a README's table with their defaults, or "" where it has
// words instead. A key that stands behind another one in a row has its parent.
func table(t *testing.T, readme string) map[string]string {
	t.Helper()
	_, section, _ := strings.Cut(read(t, readme), "## Configuration\n")
	said := make(map[string]string)
	for line := range strings.Lines(section) {
		cells := strings.Split(line, " | ")
		if strings.HasPrefix(line, "## ") {
			break
		}
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		names, values := matches("`([^`]+)`", cells[0]), matches("`([^`]+)`", cells[1])
		parent := names[0][:strings.LastIndex("::"+names[0], "::")]
		for i, name := range names {
			if i > 0 && !strings.Contains(name, "::") {
				name = parent + name
			}
			said[name] = ""
			if len(values) == len(names) && !regexp.MustCompile(`[a-z]{3} |none|by `).MatchString(cells[1]) {
				said[name] = values[i]
				if d, err := time.ParseDuration(values[i]); err == nil && strings.ContainsAny(values[i], "smh") {
					said[name] = shortDuration(d)
				}
			}
		}
	}
	if len(said) == 0 {
		t.Fatalf("%s has no table: this test does not look right", readme)
	}
	return said
}

// The variables that the SDK reads are in its documentation, and no others.
func TestVariablesOfTheSDKAreTrue(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "../sdk/inspect/doc.go"), "# Configuration")
	section, _, _ = strings.Cut(section, "\n// # ")
	checkVariables(t, `"(ASYNC_INSPECT_[A-Z_]+)"`, "../sdk/inspect/*.go", section)
}

// The variables that an embedded configuration reads are in its comment, and no others.
func TestVariablesOfConfigurationsAreTrue(t *testing.T) {
	files, err := filepath.Glob("../distribution/config/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		comment, _, _ := strings.Cut(read(t, file), "\n\n")
		checkVariables(t, `\$\{env:(ASYNC_INSPECT_[A-Z_]+)`, file, strings.ReplaceAll(comment, "_CERT, _KEY", "_CERT, ASYNC_INSPECT_TLS_KEY"))
	}
}

// checkVariables compares what matches in files with the names in a text.
func checkVariables(t *testing.T, pattern, files, text string) {
	t.Helper()
	sources, err := filepath.Glob(files)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, source := range sources {
		if !strings.HasSuffix(source, "_test.go") {
			have = append(have, matches(pattern, read(t, source))...)
		}
	}
	said := matches(`(ASYNC_INSPECT_[A-Z_]*[A-Z])`, text)
	for _, name := range have {
		if !slices.Contains(said, name) {
			t.Errorf("%s: %s is not explained", files, name)
		}
	}
	for _, name := range said {
		if !slices.Contains(have, name) {
			t.Errorf("%s: %s is explained, and nobody reads it", files, name)
		}
	}
}

// The page is what the generator makes of its sources.
func TestConfigurationPageHasAllParts(t *testing.T) {
	page := read(t, "configuration.md")
	files, err := os.ReadDir("../distribution/config")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name, is := strings.CutSuffix(file.Name(), ".yaml"); is && !strings.Contains(page, "\n### "+name+"\n") {
			t.Errorf("configuration.md has nothing of %s", file.Name())
		}
	}
}
