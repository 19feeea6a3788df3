package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Links between the pages of the repository lead somewhere.
func TestLinks(t *testing.T) {
	links := 0
	anchors := make(map[string]map[string]bool) // of pages
	pages(t, func(path, page string) { anchors[filepath.Clean(path)] = headings(page) })
	pages(t, func(path, page string) {
		for _, link := range matches(`\]\(([^)\s]+)\)`, page) {
			target, heading, _ := strings.Cut(link, "#")
			if strings.Contains(target, "://") {
				continue
			}
			links++
			to := filepath.Clean(path)
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s leads nowhere", path, link)
			} else if heading != "" && filepath.Ext(to) == ".md" && !anchors[to][heading] {
				t.Errorf("%s: %s has no heading #%s", path, to, heading)
			}
		}
	})
	if links == 0 {
		t.Error("found no links: this test does not look right")
	}
}

// headings returns the anchors that a page has, as GitHub makes them of simple
// headings.
func headings(page string) map[string]bool {
	anchors := make(map[string]bool)
	for _, heading := range matches(`(?m)^#+ (.+)$`, page) {
		heading = strings.ReplaceAll(notInAnchors.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
		anchors[heading] = true
	}
	return anchors
}

var notInAnchors = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
