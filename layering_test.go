package iocpipe_test

import (
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport is the plan of the house: the packages of this module that each folder may import, by folders. A folder
// stands for those below it, too, which it may import, unless they have a line of their own. What has no line may not
// exist.
var mayImport = map[string][]string{
	"cmd/iocpipe":        {"..."},
	"extract":            {},
	"httpclient":         {},
	"sharedfile":         {},
	"intel":              {"extract"},
	"intel/local":        {"extract", "intel", "sharedfile"},
	"intel/local/export": {"extract", "intel", "sharedfile"},
	"intel/local/feed":   {"intel", "httpclient", "sharedfile"},

	"cache":           {"extract", "intel", "sharedfile"},
	"lookup":          {"extract", "intel", "cache", "httpclient"},
	"filter":          {"extract", "intel", "cache", "lookup"},
	"filter/annotate": {"extract", "intel"},
	"filter/source":   {"sharedfile"},
	"sinks":           {"extract", "intel", "httpclient", "sharedfile"},
	"enrich":          {"extract", "intel", "cache", "lookup", "filter/annotate", "sinks/elastic", "sharedfile"},
	"server":          {"extract", "intel", "cache", "lookup", "filter", "report"},
	"report":          {"extract", "intel", "cache", "lookup", "filter"},
	"bench":           {"..."},
	"examples":        {"..."},

	// Only tests import it, as any test may import anything.
	"lookup/lookuptest": {"..."},
	"cache/cachetest":   {"..."},

	"sinks/elastic/elastictest": {"..."},
}

// thirdParty are the modules that programs of this one may be built from.
var thirdParty = []string{
	"github.com/hashicorp/golang-lru/v2", "github.com/klauspost/compress", "github.com/prometheus/client_golang",
	"github.com/cespare/xxhash/v2", "github.com/fsnotify/fsnotify", "github.com/google/uuid", "github.com/redis/go-redis/v9", "github.com/elastic/go-elasticsearch",
	"github.com/schollz/progressbar/v3", "github.com/spf13/cobra",
	"github.com/spf13/pflag", "github.com/valyala/fastjson", "go.yaml.in/yaml/v3", "golang.org/x", "modernc.org/sqlite",
}

// testParty are those that tests may use beside them, and the packages that only tests import.
var testParty = []string{"github.com/google/go-cmp", "github.com/rogpeppe/go-internal"}

// A goPackage is what go list says of one package.
type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func goList(t *testing.T) (packages []goPackage) {
	t.Helper()
	list := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	list.Stderr = t.Output()
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// plan returns the line of mayImport for a folder: its own, or that of the nearest folder above.
func plan(folder string) (line string, ok bool) {
	for line = folder; ; {
		if _, ok := mayImport[line]; ok {
			return line, true
		}
		slash := strings.LastIndexByte(line, '/')
		if slash < 0 {
			return "", false
		}
		line = line[:slash]
	}
}

// within reports whether path is one of roots or below one.
func within(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return root == "..." || path == root || strings.HasPrefix(path, root+"/")
	})
}

const module = "iocpipe/"

func TestLayering(t *testing.T) {
	for _, p := range goList(t) {
		folder, ok := strings.CutPrefix(p.ImportPath, module)
		if !ok {
			continue // the module's folder holds this test alone
		}
		line, ok := plan(folder)
		if !ok {
			t.Errorf("%s: the plan has no such folder", folder)
			continue
		}
		for _, path := range p.Imports {
			other, ours := strings.CutPrefix(path, module)
			otherLine, _ := plan(other)
			switch {
			case !ours:
			case other == "cmd/iocpipe" || strings.HasSuffix(other, "test") && !strings.HasSuffix(folder, "test"):
				t.Errorf("%s imports %s, which is not for programs", folder, other)
			case otherLine != line && !within(other, append([]string{folder}, mayImport[line]...)):
				t.Errorf("%s imports %s; it may import %v", folder, other, mayImport[line])
			}
		}
	}
}

func TestThirdParties(t *testing.T) {
	for _, p := range goList(t) {
		allowed := thirdParty
		if strings.HasSuffix(p.ImportPath, "test") {
			allowed = append(slices.Clone(thirdParty), testParty...)
		}
		for _, path := range p.Imports {
			if isThirdParty(path) && !within(path, allowed) {
				t.Errorf("%s imports %s", p.ImportPath, path)
			}
		}
		for _, path := range append(p.TestImports, p.XTestImports...) {
			if isThirdParty(path) && !within(path, thirdParty) && !within(path, testParty) {
				t.Errorf("the tests of %s import %s", p.ImportPath, path)
			}
		}
	}
}

// isThirdParty reports whether path is neither ours nor the standard library's, whose first element has no dot.
func isThirdParty(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

// A rule that cannot fail guards nothing.
func TestPlanTellsFoldersApart(t *testing.T) {
	for folder, want := range map[string]string{
		"filter": "filter", "filter/annotate": "filter/annotate", "filter/source": "filter/source",
		"lookup/threatcrowd": "lookup", "sinks/elastic": "sinks", "cmd/iocpipe": "cmd/iocpipe", "util": "", "cmd": "",
	} {
		if line, _ := plan(folder); line != want {
			t.Errorf("%s is %q in the plan, want %q", folder, line, want)
		}
	}
	if within("filter/source", mayImport["filter/annotate"]) || within("lookup", mayImport["cache"]) ||
		!within("intel/local", mayImport["cache"]) {
		t.Error("within tells folders wrong")
	}
}
