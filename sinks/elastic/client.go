// Package elastic writes documents to Elasticsearch and OpenSearch and reads from them: a client that knows the dialects
// ([Client]), the bulk API's loop that loses nothing ([Bulk]), the file of what was refused ([DeadLetters]), and the
// mapping of what is written ([Setup], [Mapping]).
package elastic

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/klauspost/compress/gzip"
	"github.com/valyala/fastjson"

	"iocpipe/httpclient"
)

// maxAnswer bounds the answers that are read, in bytes.
const maxAnswer = 512 << 20

// DefaultTimeout is how long one request may take.
const DefaultTimeout = 90 * time.Second

// A Config says where the servers are and how they are talked to.
type Config struct {
	URLs    []string // of nodes of one cluster, without user names; or
	CloudID string   // that of Elastic Cloud

	User     string // with Password, unless there is an APIKey
	Password Secret
	APIKey   Secret // id:key, or that in base64

	CA        string // a PEM file that is trusted instead of the system's authorities
	Cert, Key string // PEM files of the client's certificate
	Insecure  bool   // trusts any certificate

	Flavor  Flavor // empty: found out with the first request
	NoGzip  bool
	Timeout time.Duration // of one request; 0 stands for DefaultTimeout
}

// A Secret is given, or is in a file, which is read again when the server says that it is not right (any more).
type Secret struct{ Value, File string }

// String hides the secret.
func (s Secret) String() string { return "(secret)" }

// GoString hides it from %#v, too.
func (s Secret) GoString() string { return s.String() }

func (s Secret) read() (string, error) {
	if s.File == "" {
		return s.Value, nil
	}
	data, err := os.ReadFile(s.File)
	if err != nil {
		return "", err
	}
	value := strings.TrimSpace(string(data))
	if value == "" {
		return "", fmt.Errorf("%s is empty", s.File)
	}
	return value, nil
}

// authorization returns the header that goes with each request; it is empty without a user and a key.
func (c *Config) authorization() (string, error) {
	key, err := c.APIKey.read()
	if err != nil {
		return "", fmt.Errorf("API key: %w", err)
	}
	if key != "" {
		if strings.Contains(key, ":") {
			key = base64.StdEncoding.EncodeToString([]byte(key))
		}
		return "ApiKey " + key, nil
	}
	if c.User == "" {
		return "", nil
	}
	password, err := c.Password.read()
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+password)), nil
}

// A Client sends requests to the nodes of one cluster in turns; a node that fails is left out for a while. It is safe for
// concurrent use.
type Client struct {
	config Config
	es     *elasticsearch.BaseClient
	wire   *wire

	mu      sync.Mutex // held while the flavor is found out
	flavor  Flavor
	version string
}

// New returns a client. It reads secrets and certificates, and sends nothing yet.
func New(config Config) (*Client, error) {
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	if config.CloudID != "" {
		if len(config.URLs) > 0 {
			return nil, errors.New("both URLs and a cloud ID: give one of them")
		}
		u, err := cloudURL(config.CloudID)
		if err != nil {
			return nil, err
		}
		config.URLs = []string{u}
	}
	for _, text := range config.URLs {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			return nil, errors.New("a URL of the server cannot be read: write it as https://host:9200")
		case u.User != nil:
			return nil, fmt.Errorf("%s: a URL of the server must not hold a user or password", u.Redacted())
		case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			return nil, fmt.Errorf("%q: not the URL of a server, such as https://host:9200", text)
		}
	}
	w := &wire{config: &config}
	if err := w.load(); err != nil {
		return nil, err
	}
	es, err := elasticsearch.NewBaseClient(elasticsearch.Config{
		Addresses: config.URLs, Transport: w,
		DisableRetry:      true, // who repeats a request decides how: a bulk request is not a search
		DisableMetaHeader: true,
	})
	if err != nil {
		return nil, err
	}
	w.product.Store(config.Flavor == OpenSearch)
	return &Client{config: config, es: es, wire: w, flavor: config.Flavor}, nil
}

// cloudURL reads the ID of a deployment in Elastic Cloud, as it shows it: a label, a colon, and in base64 the domain, the name
// of Elasticsearch and that of Kibana, with dollars between and each perhaps with a port. The client's own parser knows
// neither labels with colons nor the ports of names.
func cloudURL(id string) (string, error) {
	const form = "copy it whole from the deployment's page: label:base64"
	data, err := base64.StdEncoding.DecodeString(id[strings.LastIndexByte(id, ':')+1:])
	if err != nil {
		return "", fmt.Errorf("cloud ID: it is no base64: %s", form)
	}
	parts := strings.Split(string(data), "$")
	if len(parts) < 2 || parts[0] == "" || parts[1] == "" || parts[1] == "undefined" {
		return "", fmt.Errorf("cloud ID: it names no host of Elasticsearch: %s", form)
	}
	domain, port, _ := strings.Cut(parts[0], ":")
	name, own, _ := strings.Cut(parts[1], ":")
	return "https://" + net.JoinHostPort(name+"."+domain, cmp.Or(own, port, "443")), nil
}

// A Response is an answer that was read to its end. Its status may tell of a failure, see [Response.Err].
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// ErrMalformed says that an answer of success is not what the API answers.
var ErrMalformed = errors.New("malformed answer")

// Do sends one request and reads its answer. The path begins with a slash and is escaped; the body, which may be nil, is JSON,
// or NDJSON when it ends in a line feed. A refused secret or certificate is read again from its file and, if it has changed,
// tried again once; nothing else is repeated. The body is not read any more when Do has returned. The error is one of the network, of the context, [ErrUnknownServer], or
// [ErrMalformed]; a status of failure is none.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, body []byte) (*Response, error) {
	if _, _, err := c.Flavor(ctx); err != nil {
		return nil, err
	}
	return c.ask(ctx, c.es.Perform, method, path, query, body)
}

// perform sends one request; the client's own refuses servers that are no Elasticsearch.
type perform func(*http.Request) (*http.Response, error)

func (c *Client) ask(ctx context.Context, send perform, method, path string, query url.Values, body []byte) (*Response, error) {
	for first := true; ; first = false {
		answer, err := c.once(ctx, send, method, path, query, body)
		var untrusted *tls.CertificateVerificationError
		refused := err == nil && answer.Status == http.StatusUnauthorized || errors.As(err, &untrusted)
		if !first || !refused {
			return answer, err
		}
		if changed, loadErr := c.wire.reload(); loadErr != nil {
			return answer, errors.Join(err, loadErr)
		} else if !changed {
			return answer, err
		}
	}
}

func (c *Client) once(ctx context.Context, send perform, method, path string, query url.Values, body []byte) (*Response, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.Timeout, fmt.Errorf("no answer within %s", c.config.Timeout))
	defer cancel()
	req, err := c.request(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	res, err := send(req)
	if err != nil && strings.Contains(err.Error(), notElasticsearch) {
		return nil, fmt.Errorf("%w: %w", ErrUnknownServer, err)
	} else if err != nil {
		return nil, because(ctx, err)
	}
	defer func() { _ = res.Body.Close() }() // it was read, or its error was met
	data, err := readAnswer(res)
	if err != nil {
		return nil, because(ctx, fmt.Errorf("answer cut off: %w", err))
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrMalformed, maxAnswer)
	}
	if res.StatusCode/100 == 2 && method != http.MethodHead {
		if err := fastjson.ValidateBytes(data); err != nil {
			return nil, fmt.Errorf("%w: no JSON: %.60q", ErrMalformed, data)
		}
	}
	return &Response{res.StatusCode, res.Header, data}, nil
}

// readAnswer reads the body of an answer, and of one over maxAnswer one byte more than that. It makes room at once for what the
// server announces, as far as that is the size of usual answers.
func readAnswer(res *http.Response) ([]byte, error) {
	const usual = 1 << 20
	var b bytes.Buffer
	b.Grow(int(min(max(res.ContentLength, 0), usual)) + bytes.MinRead)
	_, err := b.ReadFrom(io.LimitReader(res.Body, maxAnswer+1))
	return b.Bytes(), err
}

// notElasticsearch is how the client's own error, which has no name, tells of a server without the product header.
const notElasticsearch = "the server is not Elasticsearch"

// because adds why the context ended, when it did.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%w (%v)", cause, err)
	}
	return err
}

func (c *Client) request(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Request, error) {
	target := path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	kind := "application/json"
	if bytes.HasSuffix(body, []byte("\n")) {
		kind = "application/x-ndjson"
	}
	packed := len(body) >= minPacked && !c.config.NoGzip
	if packed {
		body = pack(body)
	} else {
		body = bytes.Clone(body) // as of pack: the transport may still send it when the answer is there already
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		req.Body, req.GetBody = http.NoBody, nil
	} else {
		req.Header.Set("Content-Type", kind)
	}
	if packed {
		req.Header.Set("Content-Encoding", "gzip")
	}
	return req, nil
}

// minPacked is from which size on a body is compressed, in bytes.
const minPacked = 1 << 10

var packers = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is a good one
	return w
}}

// pack compresses body. The result is not used again: the transport may still send it when the answer is there already.
func pack(body []byte) []byte {
	packed := bytes.NewBuffer(make([]byte, 0, len(body)/4))
	w := packers.Get().(*gzip.Writer)
	defer packers.Put(w)
	w.Reset(packed)
	_, _ = w.Write(body) // memory does not fail
	_ = w.Close()
	return packed.Bytes()
}

// An Error is a failure that a server answers, or, of status 0, one that is known without asking.
type Error struct {
	Status       int
	Type, Reason string // as the server says; empty when it does not
}

// maxReason bounds what is kept of a reason, in bytes.
const maxReason = 1000

// Error returns status, type and reason, and what to do about a full disk.
func (e *Error) Error() string {
	var parts []string
	if e.Flooded() {
		parts = append(parts, "the server's disk is full (high or flood-stage watermark), make room there")
	}
	if e.Status != 0 {
		parts = append(parts, fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
	}
	for _, part := range []string{e.Type, e.Reason} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// RetryAfter returns how long the server does not want to be asked; 0 when it does not say, and ten minutes at most.
func (r *Response) RetryAfter() time.Duration {
	return httpclient.RetryAfter(r.Header, time.Now(), maxRetryAfter)
}

// Err returns nil for a status of success, else an [*Error].
func (r *Response) Err() error {
	if r.Status/100 == 2 {
		return nil
	}
	e := &Error{Status: r.Status}
	if v, err := fastjson.ParseBytes(r.Body); err == nil {
		e.Type, e.Reason = errorOf(v.Get("error"))
	}
	return e
}

// errorOf reads the error of an answer or of an item: an object, or in some answers a text.
func errorOf(v *fastjson.Value) (kind, reason string) {
	if v == nil {
		return "", ""
	}
	if v.Type() == fastjson.TypeString {
		return "", cut(string(v.GetStringBytes()))
	}
	reason = string(v.GetStringBytes("reason"))
	if cause := string(v.GetStringBytes("caused_by", "reason")); cause != "" && !strings.Contains(reason, cause) {
		reason += ": " + cause
	}
	return string(v.GetStringBytes("type")), cut(reason)
}

func cut(s string) string {
	if len(s) > maxReason {
		return strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
