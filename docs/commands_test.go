package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// foreign are programs that are not ours, of which pages may show calls.
var foreign = []string{
	"apt-get", "buildah", "cd", "curl", "docker", "git", "jaeger", "kafka-topics.sh", "kubectl", "npm", "openssl", "podman", "promtool", "sha256sum", "tar",
}

// Commands of the pages name targets, folders, configurations and subcommands that
// there are.
func TestCommandsExist(t *testing.T) {
	makefile, usage := read(t, "../Makefile"), read(t, "../cmd/asyncinspect/main.go")
	targets := strings.Fields(strings.Join(append(matches(`(?m)^([a-z][a-z -]*):`, makefile), matches(`(?m)^(?:TESTS|LINTS) +:= (.*)`, makefile)...), " "))
	subcommands := matches(`(?m)^  asyncinspect ([a-z]+)`, usage)
	modules := matches(`(?m)^module (\S+)`, read(t, "../go.mod")+read(t, "../sdk/go.mod"))
	seen := 0
	pages(t, func(path, page string) {
		for _, b := range blocks(page) {
			if b.kind != "sh" || strings.Contains(b.text, "$(") { // a script is more than commands
				continue
			}
			for _, words := range commands(b.text) {
				seen++
				program, arguments := filepath.Base(words[0]), words[1:]
				complain := func(what string) { t.Errorf("%s:%d: %s: %s", path, b.line, strings.Join(words, " "), what) }
				switch {
				case program == "make":
					for _, a := range arguments {
						if !strings.Contains(a, "=") && !slices.Contains(targets, a) {
							complain("there is no such target")
						}
					}
				case program == "asyncinspect":
					if len(arguments) == 0 || !slices.Contains(subcommands, arguments[0]) {
						complain("there is no such subcommand")
					}
				case program == "go" && len(arguments) > 1 && arguments[0] == "-C":
					if _, err := os.Stat(filepath.Join("..", arguments[1])); err != nil {
						complain("there is no such folder")
					}
				case program == "go" && len(arguments) > 0 && arguments[0] == "get" && !strings.HasPrefix(arguments[1], "-"):
					if !slices.Contains(modules, arguments[1]) {
						complain("that is none of our modules")
					}
				case program == "go" || program == "otelcol-asyncinspect" || slices.Contains(foreign, program):
				case strings.HasPrefix(words[0], "./") || words[0] == ".ci/run":
					if _, err := os.Stat(filepath.Join("..", words[0])); err != nil {
						complain("there is no such file")
					}
				default:
					complain("this test does not know the program; is it one that readers have?")
				}
				for _, name := range matches(`embedded:([a-z-]+)`, strings.Join(arguments, " ")) {
					if _, err := os.Stat("../distribution/config/" + name + ".yaml"); err != nil {
						complain("there is no such configuration")
					}
				}
			}
		}
	})
	if seen < 20 {
		t.Errorf("found only %d commands: this test does not look right", seen)
	}
}

var (
	assignment  = regexp.MustCompile(`^[A-Z_]+=`)
	redirection = regexp.MustCompile(`[0-9]*[<>]+ *\S+`)
	comment     = regexp.MustCompile(`(^|\s)#.*`)
)

// commands returns the words of each command of a block: of lines, and of what stands
// behind && and |. What is quoted counts as one word; here-documents are left out.
func commands(text string) (found [][]string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	text = regexp.MustCompile(`(?s)<<'?([A-Z]+)'?(.*?)\n.*?\n([A-Z]+)\n`).ReplaceAllString(text, "$2\n")
	text = regexp.MustCompile(`(?s)'[^']*'|"[^"]*"`).ReplaceAllStringFunc(text, func(quoted string) string {
		return strings.NewReplacer("&&", "", "|", "", "#", "", "\n", " ", " ", "_").Replace(quoted)
	})
	for line := range strings.Lines(text) {
		line = redirection.ReplaceAllString(comment.ReplaceAllString(strings.TrimRight(line, "\n"), ""), "")
		for _, command := range regexp.MustCompile(`&&|\|\|?|;`).Split(line, -1) {
			words := strings.Fields(command)
			for len(words) > 0 && assignment.MatchString(words[0]) {
				words = words[1:]
			}
			if len(words) > 0 {
				found = append(found, words)
			}
		}
	}
	return found
}
