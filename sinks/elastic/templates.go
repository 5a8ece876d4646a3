package elastic

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

//go:embed templates
var files embed.FS

func embedded(name string) []byte {
	data, err := files.ReadFile("templates/" + name)
	if err != nil { // it is in the program
		panic(err)
	}
	return data
}

// A Template is one that the server is to have.
type Template struct {
	Path string // of the API
	Body []byte // JSON
}

// Templates returns the component template that maps what is written on events, and the index template of iocpipe's own
// data streams, in the order in which a server wants them. Elasticsearch 8.7 and later has components for logs and for
// ECS, which are made use of; a version that is not known (empty) is taken for a new one.
func Templates(f Flavor, version string) []Template {
	index := "index.json"
	if f == OpenSearch || !atLeast(version, 8, 7) {
		index = "index-plain.json"
	}
	return []Template{
		{"/_component_template/iocpipe@mappings", embedded("component.json")},
		{"/_index_template/iocpipe", embedded(index)},
	}
}

// atLeast compares a version; an unknown one is new.
func atLeast(version string, major, minor int) bool {
	if version == "" {
		return true
	}
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	x, _ := strconv.Atoi(first)
	y, _ := strconv.Atoi(second)
	return x > major || x == major && y >= minor
}

// Setup installs the templates.
func (c *Client) Setup(ctx context.Context) ([]Template, error) {
	f, version, err := c.Flavor(ctx)
	if err != nil {
		return nil, err
	}
	templates := Templates(f, version)
	for _, t := range templates {
		answer, err := c.Do(ctx, http.MethodPut, t.Path, nil, bytes.TrimSpace(t.Body))
		if err == nil {
			err = answer.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Path, err)
		}
	}
	return templates, nil
}
