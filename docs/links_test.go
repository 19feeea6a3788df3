package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Links between the pages of the repository lead somewhere.
func TestLinks(t *testing.T) {
	links := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".." || entry.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		page := read(t, path)
		for _, link := range matches(`\]\(([^)\s]+)\)`, page) {
			target, heading, _ := strings.Cut(link, "#")
			switch {
			case strings.Contains(target, "://"):
				continue
			case target == "":
				if !headings(page)[heading] {
					t.Errorf("%s: no heading for #%s", path, heading)
				}
			default:
				if _, err := os.Stat(filepath.Join(filepath.Dir(path), target)); err != nil {
					t.Errorf("%s: %s leads nowhere", path, link)
				}
			}
			links++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if links == 0 {
		t.Error("found no links: this test does not look right")
	}
}

// headings returns the anchors that a page has, as GitHub makes them of simple
// headings.
func headings(page string) map[string]bool {
	anchors := make(map[string]bool)
	for _, heading := range matches(`(?m)^#+ (.+)$`, page) {
		heading = strings.NewReplacer(" ", "-", "`", "", ",", "", "(", "", ")", "", ".", "").Replace(strings.ToLower(heading))
		anchors[heading] = true
	}
	return anchors
}
