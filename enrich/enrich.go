// Package enrich puts what is known on documents that are already stored: those of a whole index ([Job]), and those that
// an answer has come too late for ([Late]).
//
// A [Job] goes in steps, and whoever runs it may look between them. [Open] finds out what is to be done: the indices
// behind the name, whether they can be written, and which of their fields hold indicators. [Job.Discover] counts the
// distinct values that nobody here knows an answer to, for a source that takes one question in ten seconds makes them
// the price of the job. [Job.Ask] asks about them, the most telling first. [Job.Apply] reads the documents that hold
// something known, and updates those that change.
//
// # What is never lost
//
// A document is written only as long as it is the one that was read (if_seq_no and if_primary_term). One that somebody
// else has changed meanwhile is read again, and its new contents are annotated. Entries of others stay, as
// [annotate.Annotator] promises, and so does everything that is not an annotation. A document that would change in
// nothing but the time of its annotation is not written: a second run writes nothing.
//
// Documents are read in windows of @timestamp. How far an index has come is kept in a file after each window, so that a
// job that was killed goes on there.
package enrich

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"iocpipe/extract"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/lookup"
	"iocpipe/sinks/elastic"
)

// A Server is the cluster that holds the documents; an [elastic.Client] is one.
type Server interface {
	Do(ctx context.Context, method, path string, query url.Values, body []byte) (*elastic.Response, error)
	Flavor(ctx context.Context) (f elastic.Flavor, version string, err error)

	// Prepare adds to the mapping of an index what an annotation needs.
	Prepare(ctx context.Context, index string) (m elastic.Mapping, note string, err error)
}

// Knowledge is what is known of indicators. It is asked by several goroutines.
type Knowledge interface {
	// Find returns what is known of key now, and why key is not worth asking about.
	Find(key extract.Key, now time.Time) (intel.Finding, extract.Skip)

	// Wanted returns what the scheduler is to be told of key; ok is false when nobody is to be asked about it.
	Wanted(key extract.Key, now time.Time) (s lookup.Sighting, ok bool)
}

// The limits that a Job has unless it is told others.
const (
	DefaultMaxQuestions = 8640 // a day of a public source's budget
	DefaultMaxInFlight  = 4
	DefaultPatience     = 15 * time.Minute
	DefaultWindow       = 10_000
)

// Options say what a [Job] works on and how. What has no default must be set.
type Options struct {
	Index string // names, aliases, data streams and patterns, separated by commas
	Query []byte // JSON: the query that documents must match; nil for all
	Since time.Time

	Scanner   extract.Scanner // which says what fields are looked into
	Fields    []string        // those that were asked for by name; nil for all that the scanner looks into
	Know      Knowledge
	Annotator *annotate.Annotator

	Scheduler    *lookup.Scheduler // nil: nobody is asked
	Sources      []lookup.Source   // its, for estimates
	MaxQuestions int               // over which Discover refuses to go on; 0 means DefaultMaxQuestions

	Whole bool // documents are written whole, by index, where a server refuses updates
	Prune bool // own entries go whose value nobody knows any more

	PerSecond   float64       // documents written, at most; 0 for as many as the server takes
	MaxInFlight int           // bulk requests at once, at most, and shards that are read at once; 0 means DefaultMaxInFlight
	Patience    time.Duration // how long a busy server is waited for; 0 means DefaultPatience

	Window     int64  // documents between two checkpoints, about: whole hours of @timestamp, one at least; 0 means DefaultWindow
	Checkpoint string // the file of how far the job has come; empty for none
	Settings   string // of which the job is made, so that it is not resumed with others

	DeadLetters func(Letter) error       // gets what could not be written; may be nil
	Note        func(string)             // gets what people should know; may be nil
	Progress    func(done, total int64)  // documents read, and to be read; may be nil
	Asking      func(asked, waiting int) // questions; may be nil
}

// Counts say what became of the documents of a job.
type Counts struct {
	Read        int64 `json:"read"`
	Updated     int64 `json:"updated"`
	Unchanged   int64 `json:"unchanged"`    // annotated, and just as they were
	Gone        int64 `json:"gone"`         // deleted between reading and writing
	Conflicts   int64 `json:"conflicts"`    // times that a document was read again because somebody else had changed it
	Retried     int64 `json:"retried"`      // times that a document was sent again because the server was busy, or its answer did not come
	DeadLetters int64 `json:"dead_letters"` // could not be written
	Requests    int64 `json:"requests"`     // bulk requests
}

// A Letter is an update that was refused. The document stays as it was, and a later run tries again.
type Letter struct {
	Time      time.Time
	Index, ID string
	Error     elastic.Error
	Attempts  int
	Update    []byte // JSON
}

// ErrLimit says that a job would ask more than it may.
var ErrLimit = errors.New("too many questions")

// A Job enriches the documents of some indices. It is for one goroutine.
type Job struct {
	Options
	Targets []*Target // by name
	Resumed bool      // it goes on where another run has stopped

	server server
	flavor elastic.Flavor
	merger merger
	writer *writer
	keep   *checkpoint
	total  int64 // documents to be read, as far as it is known
	done   int64 // of them
}

// Open finds out what is behind the name of Options.Index, and reads how far an earlier run has come.
func Open(ctx context.Context, s Server, o Options) (*Job, error) {
	if o.MaxQuestions == 0 {
		o.MaxQuestions = DefaultMaxQuestions
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = DefaultMaxInFlight
	}
	if o.Patience == 0 {
		o.Patience = DefaultPatience
	}
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	j := &Job{Options: o, server: server{s, o.Patience}}
	j.merger = merger{scanner: o.Scanner, know: o.Know, annotator: o.Annotator, prune: o.Prune}
	j.writer = newWriter(j)
	var err error
	if j.keep, err = openCheckpoint(o.Checkpoint, o.Settings, o.Since); err != nil {
		return nil, err
	}
	j.Resumed, j.Since = j.keep.resumed, j.keep.Since
	if j.Targets, err = j.resolve(ctx); err != nil {
		return nil, err
	}
	j.keep.compare(j.Targets)
	return j, nil
}

// Counts returns what has been done so far, by earlier runs of the job, too.
func (j *Job) Counts() Counts { return j.writer.total() }

// Left returns how many indices were not enriched, or not to their end, though they were asked for.
func (j *Job) Left() (n int) {
	for _, t := range j.Targets {
		if t.Refused != "" {
			n++
		}
	}
	return n
}

func (j *Job) notef(format string, args ...any) { j.Note(fmt.Sprintf(format, args...)) }
