package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"iocpipe/filter"
	"iocpipe/filter/annotate"
	"iocpipe/sinks/elastic"
)

// toElastic is the --to that means a server.
const toElastic = "elasticsearch"

// stopGrace is how long documents that were read may go on to be sent after the first signal.
const stopGrace = drainTime + 5*time.Second

// elasticFlags are the flags of where Elasticsearch is.
type elasticFlags struct {
	urls                            []string
	cloudID, user, password, apiKey string
	ca, cert, key, flavor           string
	insecure, noGzip                bool
	timeout, giveUp                 time.Duration
	bulkBytes, bulkItems            int
}

func (f *elasticFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.urls, "es-url", nil, "`URL` of a node of Elasticsearch or OpenSearch; repeat it for others of the same cluster")
	flags.StringVar(&f.cloudID, "es-cloud-id", "", "`ID` of a deployment in Elastic Cloud, instead of --es-url")
	flags.StringVar(&f.apiKey, "es-api-key-file", "", "`FILE` with the API key (id:key, or that in base64); or IOCPIPE_ES_API_KEY")
	flags.StringVar(&f.user, "es-user", "", "`NAME` for basic authentication")
	flags.StringVar(&f.password, "es-password-file", "", "`FILE` with the password; or IOCPIPE_ES_PASSWORD")
	flags.StringVar(&f.ca, "es-ca", "", "PEM `FILE` of the authorities that are trusted, instead of the system's")
	flags.StringVar(&f.cert, "es-cert", "", "PEM `FILE` of the client's certificate")
	flags.StringVar(&f.key, "es-key", "", "PEM `FILE` of its key")
	flags.BoolVar(&f.insecure, "es-insecure", false, "trust any certificate of the server")
	flags.StringVar(&f.flavor, "es-flavor", "auto", "elasticsearch, opensearch (also for the Wazuh Indexer), or auto: what the server says")
	flags.BoolVar(&f.noGzip, "es-no-gzip", false, "do not compress requests")
	flags.DurationVar(&f.timeout, "es-timeout", elastic.DefaultTimeout, "how long one request may take")
	flags.IntVar(&f.bulkBytes, "es-bulk-bytes", elastic.DefaultMaxBytes, "`BYTES` of documents in one request, before compression; a larger document goes alone")
	flags.IntVar(&f.bulkItems, "es-bulk-items", elastic.DefaultMaxItems, "documents in one request")
	flags.DurationVar(&f.giveUp, "es-give-up", 0, "end with 1 when nothing was taken for this long; 0 waits for ever")
}

func (f *elasticFlags) validate() error {
	switch {
	case len(f.urls) == 0 && f.cloudID == "":
		return usagef("--es-url: name a node, as https://host:9200")
	case len(f.urls) > 0 && f.cloudID != "":
		return usagef("--es-url and --es-cloud-id: give one of them")
	case (f.cert == "") != (f.key == ""):
		return usagef("--es-cert and --es-key: give both or none")
	case f.password != "" && f.user == "":
		return usagef("--es-password-file: --es-user is missing")
	case f.timeout <= 0:
		return usagef("--es-timeout %s: must be above 0", f.timeout)
	case f.bulkBytes < 1 || f.bulkItems < 1:
		return usagef("--es-bulk-bytes %d, --es-bulk-items %d: must be at least 1", f.bulkBytes, f.bulkItems)
	case f.giveUp < 0:
		return usagef("--es-give-up %s: must not be negative", f.giveUp)
	}
	if _, err := elastic.ParseFlavor(f.flavor); err != nil {
		return usagef("--es-flavor %v", err)
	}
	return nil
}

// client returns a client of the server. Nothing is sent yet.
func (f *elasticFlags) client() (*elastic.Client, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	flavor, _ := elastic.ParseFlavor(f.flavor) // validated
	client, err := elastic.New(elastic.Config{
		URLs: f.urls, CloudID: f.cloudID,
		User:     f.user,
		Password: elastic.Secret{Value: os.Getenv("IOCPIPE_ES_PASSWORD"), File: f.password},
		APIKey:   elastic.Secret{Value: os.Getenv("IOCPIPE_ES_API_KEY"), File: f.apiKey},
		CA:       f.ca, Cert: f.cert, Key: f.key, Insecure: f.insecure,
		Flavor: flavor, NoGzip: f.noGzip, Timeout: f.timeout,
	})
	if err != nil {
		return nil, usagef("Elasticsearch (--es-…): %v", err)
	}
	return client, nil
}

// indexFlags are the flags of what is written to Elasticsearch.
type indexFlags struct {
	server     elasticFlags
	index      string
	timeFields []string
	idField    string
	deadLetter string
	print      bool
	setup      bool
	late       esLateFlags
}

const defaultIndex = "logs-iocpipe.events-default"

func (f *indexFlags) add(flags *pflag.FlagSet) {
	f.server.add(flags)
	flags.StringVar(&f.index, "es-index", defaultIndex, "index, alias or data stream, as `PATTERN`: %{+yyyy.MM.dd} is the time of the event, %{[event.dataset]} a field of it, %{[event.dataset]:other} with what stands for a missing one")
	flags.StringSliceVar(&f.timeFields, "time-field", nil, "`FIELDS` of JSON events whose time becomes @timestamp where there is none")
	flags.StringVar(&f.idField, "es-id-field", "", "`FIELD` of JSON events that holds an ID of their own, which becomes _id")
	flags.StringVar(&f.deadLetter, "dead-letter", "", "`FILE` for documents that the server refuses (default: dead-letter.ndjson in the state folder)")
	f.late.add(flags)
	flags.BoolVar(&f.print, "es-print-templates", false, "print the component and index template that --es-setup installs, and end")
	flags.BoolVar(&f.setup, "es-setup", false, "install them, and end")
}

// deadLetters returns where refused documents go.
func (f *indexFlags) deadLetters(dir string) (*elastic.DeadLetters, error) {
	path := f.deadLetter
	if path == "" {
		if dir == "" {
			return nil, usagef("--dead-letter: name the file for documents that the server refuses; there is no state folder for it")
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, usagef("--dead-letter: the state folder: %v", err)
		}
		path = filepath.Join(dir, "dead-letter.ndjson")
	}
	letters := elastic.NewDeadLetters(path)
	if err := letters.Check(); err != nil {
		return nil, usagef("--dead-letter: %v", err)
	}
	return letters, nil
}

// printTemplates prints what a server gets with --es-setup, as one asks for it by hand. Without a server it is that of a new Elasticsearch,
// unless --es-flavor says another.
func (f *indexFlags) printTemplates(w io.Writer) error {
	flavor, err := elastic.ParseFlavor(f.server.flavor)
	if err != nil {
		return usagef("--es-flavor %v", err)
	}
	for _, t := range elastic.Templates(flavor, "") {
		if _, err := fmt.Fprintf(w, "PUT %s\n%s\n", t.Path, t.Body); err != nil {
			return err
		}
	}
	return nil
}

// install installs the templates.
func (f *indexFlags) install(ctx context.Context, w io.Writer) error {
	client, err := f.server.client()
	if err != nil {
		return err
	}
	installed, err := client.Setup(ctx)
	if err != nil {
		return fmt.Errorf("--es-setup: %w", err)
	}
	for _, t := range installed {
		fmt.Fprintf(w, "installed %s\n", strings.TrimPrefix(t.Path, "/"))
	}
	return nil
}

// An elasticOutput is the output that writes documents to Elasticsearch.
type elasticOutput struct {
	documents *filter.Documents
	client    *elastic.Client
	bulk      *elastic.Bulk
	letters   *elastic.DeadLetters
	stream    *stream
	reached   func(filter.Position) // is told what is safe; may be nil

	ctx  context.Context // done when waiting for the server is to end
	stop context.CancelCauseFunc
	keep bool   // what the server does not take any more is kept: the input cannot be read again
	quit func() // ends the reading

	giveUp time.Duration // as of the flag
	over   error         // why the server takes no more, while what was read is kept

	indices  sync.Map   // elastic.Mapping by index, as far as they were looked at
	looking  sync.Mutex // held while an index is looked at
	unread   bool       // people know that mappings cannot be read
	told     map[string]bool
	remapped map[string]time.Time // when an index that refuses documents was looked at last
	counts   elastic.Counts
	flatDocs atomic.Int64
}

// openElastic prepares the output. again says that the input can be read again from where it was left.
func (f *indexFlags) openElastic(stream *stream, dir string, again bool) (*elasticOutput, error) {
	client, err := f.server.client()
	if err != nil {
		return nil, err
	}
	name, err := filter.ParseIndexName(f.index)
	if err != nil {
		return nil, usagef("--es-index %v", err)
	}
	letters, err := f.deadLetters(dir)
	if err != nil {
		return nil, err
	}
	o := &elasticOutput{client: client, letters: letters, stream: stream, keep: !again}
	o.told, o.remapped = make(map[string]bool), make(map[string]time.Time)
	o.ctx, o.stop = context.WithCancelCause(context.Background())
	o.giveUp = f.server.giveUp
	o.documents = &filter.Documents{Index: name, TimeFields: f.timeFields, IDField: f.idField, Flat: o.isFlat}
	o.documents.Host, _ = os.Hostname() // without one, events have no host
	o.bulk = client.NewBulk(elastic.BulkOptions{
		MaxBytes: f.server.bulkBytes, MaxItems: f.server.bulkItems, GiveUp: f.server.giveUp, DeadLetters: letters.Add, KeepUnsent: o.keep, Waiting: o.waits, Refused: o.refused,
		Moved: o.forget, Remap: o.remap,
	})
	go o.forgetAll()
	return o, nil
}

// lookAgain is after how long indices are looked at again: others may change them, or what stands behind a name.
const lookAgain = 5 * time.Minute

// forgetAll makes all indices be looked at again with their next document, from time to time.
func (o *elasticOutput) forgetAll() {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			o.indices.Clear()
		case <-o.ctx.Done():
			return
		}
	}
}

// forget makes one be looked at again.
func (o *elasticOutput) forget(index string) { o.indices.Delete(index) }

// remap looks again at an index that refuses a document for a field of the annotation: a rollover may have brought a mapping
// that lacks it, and then takes the document. Otherwise the document is sent once more with the summary of its annotation.
func (o *elasticOutput) remap(index string, e elastic.Error, document []byte, time int) (as []byte, again bool) {
	if !strings.Contains(e.Reason, "threat") && !strings.Contains(e.Reason, "iocpipe") && !strings.Contains(e.Reason, "related") {
		return nil, false
	}
	if time == 1 && o.lookOnce(index) == elastic.Nested {
		return nil, true
	}
	as, again = annotate.New().Flatten(nil, document)
	if again {
		o.flatDocs.Add(1)
		o.tellFlat(index, e)
	}
	return as, again
}

// lookOnce looks again at an index, once a minute at most.
func (o *elasticOutput) lookOnce(index string) elastic.Mapping {
	o.looking.Lock()
	again := time.Since(o.remapped[index]) > time.Minute
	if again {
		o.remapped[index] = time.Now()
	}
	o.looking.Unlock()
	if again {
		o.forget(index)
	}
	return o.mapping(index)
}

// tellFlat says, once for each index, that it refuses whole annotations. Where the mapping may not be read, and it is
// threat.enrichments itself that is refused, no more of them are sent there.
func (o *elasticOutput) tellFlat(index string, e elastic.Error) {
	o.looking.Lock()
	defer o.looking.Unlock()
	if m, _ := o.indices.Load(index); m == elastic.Unknown && (strings.Contains(e.Reason, "[threat.enrichments]") || strings.Contains(e.Reason, "[threat]")) {
		o.indices.Store(index, elastic.Flat)
	}
	if about := index + " is flat"; !o.told[about] {
		o.told[about] = true
		o.stream.say("index %s refuses threat.enrichments, and gets iocpipe.* alone of such events: the mapping of --es-print-templates takes all: %v", index, &e)
	}
}

// stopWith ends the waiting for the server a while after ctx is done. quit, by which the output can end the reading, makes it so.
func (o *elasticOutput) stopWith(ctx context.Context, quit func()) {
	o.quit = quit
	context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, func() { o.stop(errInterrupted) }) })
}

// Write adds the documents of a block. It waits while the server takes none. When it takes no more for good, the reading
// ends, and what was read of an input that cannot be read again is kept.
func (o *elasticOutput) Write(p []byte) (int, error) {
	err := o.bulk.Add(o.ctx, p)
	switch {
	case err == nil:
	case o.keep && o.quit != nil && !errors.Is(err, elastic.ErrNotKept):
		if o.over == nil {
			o.over = err
			o.quit()
		}
	default:
		return 0, o.named(err)
	}
	return len(p), nil
}

// Reached tells how far everything is indexed, or among the dead letters.
func (o *elasticOutput) Reached(at filter.Position) {
	if o.reached != nil {
		o.bulk.After(func() { o.reached(at) })
	}
}

// Reaching has nothing to tell: what is sent again is there already.
func (o *elasticOutput) Reaching(filter.Position) {}

func (o *elasticOutput) passOn(to *following) { o.reached = to.Reached }

// info is that of the dead letters, which a pattern of inputs may match.
func (o *elasticOutput) info() fs.FileInfo {
	info, err := os.Stat(o.letters.Path())
	if err != nil {
		return nil
	}
	return info
}

// Reopen has nothing to reopen.
func (o *elasticOutput) Reopen() error { return nil }

// Close waits until every document has its final outcome.
func (o *elasticOutput) Close() (err error) {
	o.counts, err = o.bulk.Close(o.ctx)
	o.stop(nil)
	if err != nil {
		err = o.named(fmt.Errorf("%s documents were not sent, or no answer came: %w", thousands(o.counts.Unsent), err))
	}
	return errors.Join(err, o.letters.Close())
}

func (o *elasticOutput) named(err error) error { return fmt.Errorf("%s: %w", toElastic, err) }

var errInterrupted = errors.New("interrupted while the server took nothing")

// waits says that documents wait for the server, or, with nil, that it takes them again.
func (o *elasticOutput) waits(err error) {
	if err != nil {
		o.stream.waits(toElastic, fmt.Errorf("elasticsearch: %w; waiting, nothing is lost", err))
		return
	}
	o.stream.flows(toElastic, "elasticsearch takes documents again")
}

func (o *elasticOutput) refused(index string, e elastic.Error) {
	o.stream.say("index %s refuses documents, which go to %s: %v", index, o.letters.Path(), &e)
}

// isFlat reports whether documents for an index get the summary alone. An index is looked at before its first document
// is made.
func (o *elasticOutput) isFlat(index string) bool {
	if o.mapping(index) != elastic.Flat {
		return false
	}
	o.flatDocs.Add(1)
	return true
}

// indexNames returns the indices that documents went to.
func (o *elasticOutput) indexNames() (names []string) {
	o.indices.Range(func(name, _ any) bool {
		names = append(names, name.(string))
		return true
	})
	slices.Sort(names)
	return names
}

func (o *elasticOutput) mapping(index string) elastic.Mapping {
	if m, ok := o.indices.Load(index); ok {
		return m.(elastic.Mapping)
	}
	return o.look(index)
}

// look prepares an index; it waits for a server that does not answer.
func (o *elasticOutput) look(index string) elastic.Mapping {
	o.looking.Lock()
	defer o.looking.Unlock()
	if m, ok := o.indices.Load(index); ok {
		return m.(elastic.Mapping)
	}
	waited, began := false, time.Now()
	for {
		m, note, err := o.client.Prepare(o.ctx, index)
		over := o.giveUp > 0 && time.Since(began) > o.giveUp
		if err == nil || over || elastic.Final(err) { // of which the first request for documents will tell
			if waited && err == nil {
				o.waits(nil)
			}
			o.tell(index, m, note)
			if err == nil && (m == elastic.Nested || m == elastic.Flat) {
				for _, remark := range o.client.Remarks(o.ctx, index) {
					o.tell(index, m, remark)
				}
			}
			o.indices.Store(index, m)
			return m
		}
		if o.ctx.Err() != nil {
			return elastic.Unknown
		}
		if !waited {
			o.waits(err)
		}
		waited = true
		select {
		case <-time.After(lookPause):
		case <-o.ctx.Done():
		}
	}
}

// lookPause is how long to wait before an index is looked at again.
const lookPause = time.Second

// tell prints what Prepare says, once, and that mappings cannot be read but once for all. Documents for an index that is not
// fit for them go to the dead letters, of which the refusal tells.
func (o *elasticOutput) tell(index string, m elastic.Mapping, note string) {
	if m == elastic.Unfit {
		o.bulk.Withhold(index, note)
		return
	}
	o.bulk.Withhold(index, "")
	if note == "" || o.told[note] || m == elastic.Unknown && o.unread {
		return
	}
	o.told[note] = true
	o.unread = o.unread || m == elastic.Unknown
	o.stream.say("%s", note)
}

// report prints the balance.
func (o *elasticOutput) report(w io.Writer, stats bool) {
	c := o.counts
	if c.DeadLetters > 0 || c.Unsent > 0 || stats {
		fmt.Fprintf(w, "iocpipe: elasticsearch: %s documents: %s indexed, %s there already, %s dead letters", thousands(c.Added),
			thousands(c.Indexed), thousands(c.Duplicates), thousands(c.DeadLetters))
		if c.Unsent > 0 {
			fmt.Fprintf(w, ", %s without an outcome", thousands(c.Unsent))
		}
		if c.DeadLetters > 0 || c.Unsent > 0 && o.keep {
			fmt.Fprintf(w, " in %s (iocpipe replay sends them again)", o.letters.Path())
		}
		fmt.Fprintln(w)
	}
	if stats {
		fmt.Fprintf(w, "  requests %s; documents sent again %s; without a time of their own %s; with the summary alone %s\n",
			thousands(c.Requests), thousands(c.Retried), thousands(o.documents.Stamped.Load()), thousands(o.flatDocs.Load()))
	}
}

// unbalanced says what is missing when lines, which were to become documents, have not all found their end.
func (o *elasticOutput) unbalanced(lines int64) error {
	c := o.counts
	missing := lines + o.documents.Parts.Load() - c.Indexed - c.Duplicates - c.DeadLetters
	if o.keep {
		missing -= c.Unsent
	}
	if missing == 0 {
		return nil
	}
	return fmt.Errorf("elasticsearch: of %s lines %s are neither indexed nor among the dead letters", thousands(lines), thousands(missing))
}
