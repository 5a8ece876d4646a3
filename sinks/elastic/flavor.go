package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/valyala/fastjson"
)

// A Flavor is the dialect of a server.
type Flavor string

// The flavors. The Wazuh Indexer, which calls itself 7.10.2, is an OpenSearch.
const (
	Elasticsearch Flavor = "elasticsearch"
	OpenSearch    Flavor = "opensearch"
)

// What Elasticsearch says in each answer since 7.14, and what the client wants to read.
const productHeader, productName = "X-Elastic-Product", "Elasticsearch"

// ErrUnknownServer says that a server is neither Elasticsearch nor OpenSearch, as far as it tells.
var ErrUnknownServer = errors.New("the server does not say that it is Elasticsearch or OpenSearch")

// Flavor returns which dialect the server speaks, and its version, which is empty when the server does not tell. It asks
// only as long as it has no answer, and not at all for the flavor when that is configured.
func (c *Client) Flavor(ctx context.Context) (f Flavor, version string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flavor != "" {
		return c.flavor, c.version, nil
	}
	// Not by the client's own way, which would refuse an OpenSearch before it is known to be one.
	answer, err := c.ask(ctx, c.es.Transport.Perform, http.MethodGet, "/", nil, nil)
	if err != nil && !errors.Is(err, ErrMalformed) {
		return "", "", err
	}
	if err == nil {
		f, version = recognise(answer)
		if f == "" && answer.Status/100 != 2 && answer.Status != http.StatusNotFound && answer.Status != http.StatusMethodNotAllowed {
			return "", "", answer.Err() // it may be another matter in a while
		}
	}
	if f == "" {
		return "", "", ErrUnknownServer
	}
	if version == "" {
		version = c.nodeVersion(ctx)
	}
	c.wire.product.Store(f == OpenSearch)
	c.flavor, c.version = f, version
	return f, version, nil
}

// recognise reads the answer to GET /. It may be a refusal: a node may not serve that path, and who may only write
// documents may not ask for it.
func recognise(r *Response) (f Flavor, version string) {
	v, err := fastjson.ParseBytes(r.Body)
	if err != nil {
		v = fastjson.MustParse("{}")
	}
	version = string(v.GetStringBytes("version", "number"))
	openSearchHeader := r.Header.Get("X-OpenSearch-Version") // of 3.x; such as OpenSearch/3.0.0 (opensearch)
	switch {
	case r.Header.Get(productHeader) == productName:
		return Elasticsearch, version
	case string(v.GetStringBytes("version", "distribution")) == "opensearch",
		strings.Contains(string(v.GetStringBytes("tagline")), "OpenSearch"), // all it says with the compatibility setting
		strings.HasPrefix(openSearchHeader, "OpenSearch/"),
		strings.Contains(r.Header.Get("WWW-Authenticate"), "OpenSearch Security"),
		strings.HasPrefix(string(v.GetStringBytes("error", "reason")), "no permissions for ["): // its security plugin's words
		return OpenSearch, version
	}
	return "", ""
}

// nodeVersion asks a node that does not serve GET / for its version; who may not ask, or a server that does not tell, costs
// no more than the version.
func (c *Client) nodeVersion(ctx context.Context) (version string) {
	answer, err := c.ask(ctx, c.es.Transport.Perform, http.MethodGet, "/_nodes/_local", nil, nil)
	if err != nil || answer.Status != http.StatusOK {
		return ""
	}
	v, err := fastjson.ParseBytes(answer.Body)
	if err != nil {
		return ""
	}
	v.GetObject("nodes").Visit(func(_ []byte, node *fastjson.Value) {
		version = string(node.GetStringBytes("version"))
	})
	return version
}

// ParseFlavor reads a flavor; auto is that of the server.
func ParseFlavor(s string) (Flavor, error) {
	switch f := Flavor(s); f {
	case Elasticsearch, OpenSearch:
		return f, nil
	case "auto", "":
		return "", nil
	}
	return "", fmt.Errorf("%q: use auto, elasticsearch or opensearch", s)
}
