package main

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iocpipe/extract"
	"iocpipe/filter"
	"iocpipe/filter/source"
	"iocpipe/intel"
	"iocpipe/lookup"
	"iocpipe/lookup/plan"
)

// planFlags are the flags of plan.
type planFlags struct {
	scan       scanFlags
	in         inputFlags
	rate       string
	burst      int
	ask        string
	maxWaiting int
	speed      string
	trace      bool
	answers    string
	asks       string
}

func newPlanCommand(con console) *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use:   "plan [FILE…]",
		Short: "Say what a budget would buy on a log",
		Long: `Plan replays a log against a simulated clock and says how many of its indicators a budget would get answered. Nothing is
sent. The log's own times are used; lines without one come --speed apart.`,
		Example: `  iocpipe plan --rate 1/10s /var/log/auth.log`,
		RunE: func(cmd *cobra.Command, files []string) error {
			if _, err := settle(cmd); err != nil {
				return err
			}
			return f.run(con, files)
		},
	}
	flags := cmd.Flags()
	f.scan.add(flags, "common")
	f.in.add(flags, "is not looked into")
	flags.StringVar(&f.rate, "rate", publicRate, "the budget: requests per time")
	flags.IntVar(&f.burst, "burst", publicBurst, "requests that may be made at once")
	flags.StringVar(&f.ask, "ask", "all", "types that may be asked about")
	flags.IntVar(&f.maxWaiting, "max-waiting", lookup.DefaultMaxWaiting, "indicators that may wait for a question")
	flags.StringVar(&f.speed, "speed", "100/s", "lines per time, for logs that state no times")
	flags.BoolVar(&f.trace, "trace", false, "the input is a trace: one event with its indicators per line")
	flags.StringVar(&f.answers, "answers", "", "`FILE` that plays the source: report lines, or a trace's truth")
	flags.StringVar(&f.asks, "asks", "", "`FILE` for the decisions, as NDJSON")
	addConfig(flags)
	for _, name := range []string{"trace", "answers", "asks"} {
		_ = flags.MarkHidden(name) // for measuring; the flag exists
	}
	return cmd
}

func (f *planFlags) run(con console, files []string) error {
	config, err := f.config()
	if err != nil {
		return err
	}
	if f.answers != "" {
		if config.Answer, err = readAnswers(f.answers); err != nil {
			return err
		}
	}
	asks := bufio.NewWriter(io.Discard)
	if f.asks != "" {
		file, err := os.Create(f.asks)
		if err != nil {
			return fmt.Errorf("--asks: %w", err)
		}
		defer file.Close()
		asks = bufio.NewWriter(file)
	}
	config.OnAsk = func(a plan.Ask) error { return plan.WriteAsk(asks, a) }
	events, err := f.events(con, files)
	if err != nil {
		return err
	}
	summary, err := plan.Run(events, config)
	if err != nil {
		return err
	}
	printPlan(con, summary, f)
	return asks.Flush()
}

func (f *planFlags) config() (c plan.Config, err error) {
	if c.Rate, err = parseRate(f.rate); err != nil {
		return c, usagef("--rate: %v", err)
	}
	if c.Burst = f.burst; f.burst < 1 {
		return c, usagef("--burst %d: must be at least 1", f.burst)
	}
	if c.MaxWaiting = f.maxWaiting; f.maxWaiting < 1 {
		return c, usagef("--max-waiting %d: must be at least 1", f.maxWaiting)
	}
	if c.Types, err = extract.ParseTypes(f.ask); err != nil {
		return c, usagef("--ask: %v", err)
	}
	return c, f.in.validate()
}

func readAnswers(path string) (func(extract.Key) intel.Report, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--answers: %w", err)
	}
	defer file.Close()
	answers, err := plan.ReadAnswers(file, intel.ParseReportLine)
	if err != nil {
		return nil, fmt.Errorf("--answers %s: %w", path, err)
	}
	return answers.Lookup, nil
}

// events yields what the inputs hold, in the order of time.
func (f *planFlags) events(con console, files []string) (iter.Seq2[plan.Event, error], error) {
	if f.trace {
		return traceEvents(con, files), nil
	}
	scanner, err := f.scan.scanner()
	if err != nil {
		return nil, err
	}
	policy, err := f.scan.policy()
	if err != nil {
		return nil, err
	}
	speed, err := parseRate(f.speed)
	if err != nil {
		return nil, usagef("--speed: %v", err)
	}
	log := filter.Log{Scanner: scanner, Policy: policy, MaxLine: f.in.maxLine, Apart: time.Duration(float64(time.Second) / float64(speed)), Now: time.Now()}
	return func(yield func(plan.Event, error) bool) {
		for e, err := range log.Events(source.Open(files, con.stdin)) {
			if !yield(plan.Event{At: e.At, Indicators: indicators(e)}, err) {
				return
			}
		}
	}, nil
}

func indicators(e filter.LogEvent) (all []plan.Indicator) {
	for _, key := range e.Keys {
		all = append(all, plan.Indicator{Key: key, Context: e.Context})
	}
	return all
}

// traceEvents yields the events of traces, one after the other.
func traceEvents(con console, files []string) iter.Seq2[plan.Event, error] {
	return func(yield func(plan.Event, error) bool) {
		inputs := source.Open(files, con.stdin)
		for {
			name, err := inputs.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(plan.Event{}, err)
				return
			}
			for e, err := range plan.ReadTrace(inputs) {
				if err != nil {
					err = fmt.Errorf("%s: %w", name, err)
				}
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

func printPlan(con console, s plan.Summary, f *planFlags) {
	w := con.stdout
	fmt.Fprintf(w, "%s lines with indicators, %s distinct, over %s\n", thousands(s.Events), thousands(s.Distinct), roundTime(s.Length))
	fmt.Fprintf(w, "at %s, burst %d: %s asked", f.rate, f.burst, thousands(s.Asked))
	if f.answers != "" {
		fmt.Fprintf(w, ", %s malicious, %s more known as related", thousands(s.Malicious), thousands(s.Related))
	}
	fmt.Fprintf(w, "; %s still waiting, %s left unasked when the table was full\n", thousands(s.Waiting), thousands(s.Evicted))
	fmt.Fprintf(w, "asking about all of them would take %s\n", roundTime(s.NeedAll))
}

// roundTime writes a duration for people: 3 h 25 min, 12 s.
func roundTime(d time.Duration) string {
	switch {
	case d > 365*24*time.Hour:
		return "more than a year"
	case d >= 24*time.Hour:
		return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
}
