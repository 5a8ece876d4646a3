package main

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/time/rate"

	"iocpipe/cache"
	"iocpipe/cache/host"
	"iocpipe/extract"
	"iocpipe/filter"
	"iocpipe/filter/annotate"
	"iocpipe/intel"
	"iocpipe/lookup"
)

// The budgets of a network source: what the terms of the public API allow, and for one's own hosts.
const (
	publicRate, publicBurst = "1/10s", 5
	localRate, localBurst   = "50/1s", 50
	keylessRate             = "1/2m"                     // of OTX: projects speak of 1,000 a day without a key, and of 429 when it was more
	publicTypes             = "ip,domain,hash,antivirus" // people's e-mail addresses stay home
)

// sourceFlags are the flags that say where answers come from.
type sourceFlags struct {
	intel []string
	rate  string
	burst int
	ask   string
	storeFlags
	cacheSize    int
	maxWaiting   int
	ttl          cache.Lifetimes
	relationAge  time.Duration
	insecureHTTP bool

	given      func(flag string) bool // by the command line, the environment or the file
	configured []sourceConfig
	longest    time.Duration // that a question may take
	unusable   string        // the folder of a state that was meant and cannot be used
}

func (f *sourceFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.intel, "intel", nil, "`SOURCE` of answers: a ThreatCrowd v2 API (https://host[/path]), otx: (key in $OTX_API_KEY), or a file or folder of your own; may be repeated")
	flags.BoolVar(&f.insecureHTTP, "insecure-http", false, "allow plain http:// to public hosts")
	flags.StringVar(&f.rate, "rate", "", "budget of a network source, requests per time, as 1/10s (default 1/10s; 1/2m for OTX without a key; 50/1s for loopback and private hosts)")
	f.given = flags.Changed
	flags.IntVar(&f.burst, "burst", 0, "requests that may be made at once (default 5; 50 for loopback and private hosts)")
	flags.StringVar(&f.ask, "ask", "", "types that network sources may be asked about (default ip,domain,hash,antivirus; all for loopback and private hosts)")
	flags.StringVar(&f.state, "state", "", "`DIR` where answers and budgets are kept for all processes of the host; none is memory alone "+
		"(default $STATE_DIRECTORY, /var/lib/iocpipe or ~/.local/state/iocpipe)")
	f.addStore(flags)
	flags.IntVar(&f.cacheSize, "cache-size", cache.DefaultSize, "answers held in memory")
	flags.IntVar(&f.maxWaiting, "max-waiting", lookup.DefaultMaxWaiting, "indicators that may wait for a question")
	f.ttl = cache.DefaultLifetimes
	flags.Var((*days)(&f.ttl.Malicious), "ttl-malicious", "how long a malicious answer holds, as 7d or 36h")
	flags.Var((*days)(&f.ttl.Known), "ttl-known", "how long any other report holds")
	flags.Var((*days)(&f.ttl.Unknown), "ttl-unknown", "how long it holds that a source has no report")
	f.relationAge = filter.DefaultRelationAge
	flags.Var((*days)(&f.relationAge), "max-relation-age", "how long ago a network source may have seen last what its report names")
}

func (f *sourceFlags) validate() error {
	if f.cacheSize < 1 {
		return usagef("--cache-size %d: must be at least 1", f.cacheSize)
	}
	if f.maxWaiting < 1 {
		return usagef("--max-waiting %d: must be at least 1", f.maxWaiting)
	}
	if f.burst < 1 && f.given("burst") {
		return usagef("--burst %d: must be at least 1", f.burst)
	}
	// What is wrong is wrong whether or not a network source is there to make use of it.
	_, _, _, err := f.budget(sourceConfig{Rate: f.rate, Types: f.ask}, false, publicRate)
	return err
}

// A network is one source that is asked over the network.
type network struct {
	lookup.Source // by the name under which its budget and answers are kept: the configured one, or its host (otx:host for OTX)
	origin        intel.Origin
	shown         string // the name that is written on events
	lifetimes     cache.Lifetimes
}

// split parts --intel into network sources and the paths of local intelligence.
func (f *sourceFlags) split() (networks []network, paths []string, err error) {
	for _, source := range f.intel {
		switch {
		case isOTX(source):
		case source == "" || strings.Contains(source, "://") && !isURL(source):
			return nil, nil, usagef("--intel %s: neither an http(s):// URL nor a file", annotate.Safe(source))
		case !isURL(source):
			paths = append(paths, source)
			continue
		}
		n, err := f.network(source)
		if err != nil {
			return nil, nil, err
		}
		for _, other := range networks {
			if other.Name == n.Name {
				n.Name = fmt.Sprintf("%s-%d", n.Name, len(networks)+1)
			}
		}
		networks = append(networks, n)
	}
	return networks, paths, nil
}

func isURL(source string) bool {
	return strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://")
}

// network sets up the client and the budget of one source.
func (f *sourceFlags) network(source string) (network, error) {
	settings := f.settings(source)
	api, err := f.api(source, settings)
	if err != nil {
		return network{}, err
	}
	asked, usual, err := newClient(source, api, settings)
	if err != nil {
		return network{}, err
	}
	n := network{origin: intel.FromThreatCrowd, shown: "ThreatCrowd", lifetimes: cache.Lifetimes{
		Malicious: time.Duration(cmp.Or(settings.TTLMalicious, days(f.ttl.Malicious))),
		Known:     time.Duration(cmp.Or(settings.TTLKnown, days(f.ttl.Known))),
		Unknown:   time.Duration(cmp.Or(settings.TTLUnknown, days(f.ttl.Unknown))),
	}}
	if isOTX(source) {
		n.Name = "otx:" // a host may speak both
		n.origin, n.shown = intel.FromOTX, "OTX"
	}
	n.Name += hostOf(api.BaseURL)
	n.Provider = asked
	if settings.Name != "" {
		n.Name, n.shown = settings.Name, settings.Name
	}
	if n.Rate, n.Burst, n.Types, err = f.budget(settings, asked.Local(), usual); err != nil {
		return network{}, err
	}
	if n.Types &= asked.Types(); n.Types == 0 {
		return network{}, usagef("--ask %s: %s cannot be asked about that", settings.Types, n.Name)
	}
	return n, nil
}

// hostOf returns the host, and the port if it is named, of a URL that has been checked.
func hostOf(source string) string {
	u, err := url.Parse(source)
	if err != nil {
		return source
	}
	return u.Host
}

// settings returns the configuration's entry for source, with the flags in its gaps.
func (f *sourceFlags) settings(source string) sourceConfig {
	settings := sourceConfig{}
	for _, c := range f.configured {
		if c.Intel == source {
			settings = c
		}
	}
	if settings.Rate == "" {
		settings.Rate = f.rate
	}
	if settings.Burst == 0 {
		settings.Burst = f.burst
	}
	if settings.Types == "" {
		settings.Types = f.ask
	}
	return settings
}

// budget returns how often and about what a source may be asked; usual is the rate of one that is not local.
func (f *sourceFlags) budget(s sourceConfig, local bool, usual string) (rate.Limit, int, extract.TypeSet, error) {
	perTime, burst, types := usual, publicBurst, publicTypes
	if local {
		perTime, burst, types = localRate, localBurst, "all"
	}
	if s.Rate != "" {
		perTime = s.Rate
	}
	if s.Burst > 0 {
		burst = s.Burst
	}
	if s.Types != "" {
		types = s.Types
	}
	limit, err := parseRate(perTime)
	if err != nil {
		return 0, 0, 0, usagef("--rate: %v", err)
	}
	set, err := extract.ParseTypes(types)
	if err != nil {
		return 0, 0, 0, usagef("--ask: %v", err)
	}
	return limit, burst, set, nil
}

// parseRate reads N/DUR, such as 1/10s or 360/1h.
func parseRate(s string) (rate.Limit, error) {
	count, per, ok := strings.Cut(s, "/")
	n, err := strconv.ParseFloat(count, 64)
	if per != "" && per[0] >= 'a' {
		per = "1" + per // 50/s
	}
	d, e := time.ParseDuration(per)
	if !ok || err != nil || e != nil || n <= 0 || d <= 0 || n > 1e6 {
		return 0, fmt.Errorf("%q is not requests per time, such as 1/10s", s)
	}
	return rate.Limit(n / d.Seconds()), nil
}

// knowledge sets up what answers, but for what the user's own files say. The scheduler is there when a network source
// is, and asks nothing until its Run. state, which may be nil, keeps answers and budgets.
func (f *sourceFlags) knowledge(networks []network, state *host.State, onHealth func(lookup.Health), onAnswer func(lookup.Answer)) (*filter.Knowledge, error) {
	memory, err := cache.NewMemory(f.cacheSize, f.ttl)
	if err != nil {
		return nil, err
	}
	if state != nil {
		memory.Over(state)
	}
	know := &filter.Knowledge{Cache: memory, Providers: make(map[string]filter.Provider), RelationAge: f.relationAge}
	alone := host.Alone(f.unusable)
	for _, n := range networks {
		switch {
		case state != nil:
			n.Budget = state.Budget(n.Name, float64(n.Rate), n.Burst)
		case f.unusable != "":
			n.Budget = lookup.NewSolo(n.Rate, n.Burst, alone)
		}
		know.Sources = append(know.Sources, n.Source)
		memory.Order = append(memory.Order, n.Name)
		know.Providers[n.Name] = filter.Provider{Origin: n.origin, Name: n.shown, Lifetimes: n.lifetimes}
	}
	if len(networks) == 0 {
		return know, nil
	}
	know.Scheduler, err = lookup.New(lookup.Options{
		Sources: know.Sources, MaxWaiting: f.maxWaiting, Answers: know, OnHealth: onHealth, OnAnswer: onAnswer,
	})
	return know, err
}
