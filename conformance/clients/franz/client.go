// franz-go: a Go client of its own making.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type pair struct {
	name  string
	value []byte
}

type row struct {
	key, value []byte
	headers    []pair
}

var (
	client = os.Getenv("CLIENT")
	codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}
	codec  = map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
)

func say(fields ...string) {
	for i, field := range fields {
		fields[i] = strings.NewReplacer("\t", " ", "\n", " | ").Replace(field)
	}
	fmt.Println(strings.Join(fields, "\t"))
}

func check(name string, act func() error) {
	if err := act(); err != nil {
		say("failed", name, err.Error())
	} else {
		say("ok", name, "")
	}
}

func open(options ...kgo.Opt) *kgo.Client {
	all := append([]kgo.Opt{
		kgo.SeedBrokers(os.Getenv("BOOTSTRAP")), kgo.AllowAutoTopicCreation(), kgo.MetadataMaxAge(2 * time.Second),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond),
	}, options...)
	made, err := kgo.NewClient(all...)
	if err != nil {
		panic(err)
	}
	return made
}

func words() []row {
	text, err := os.ReadFile(filepath.Join(os.Getenv("CLIENTS"), "words.json"))
	if err != nil {
		panic(err)
	}
	var all []struct {
		Key, Value *string
		Repeat     int
		Headers    [][]*string
	}
	if err := json.Unmarshal(text, &all); err != nil {
		panic(err)
	}
	raw := func(text *string, times int) []byte {
		if text == nil {
			return nil
		}
		return []byte(strings.Repeat(*text, max(times, 1)))
	}
	var rows []row
	for _, one := range all {
		made := row{raw(one.Key, 1), raw(one.Value, one.Repeat), nil}
		for _, header := range one.Headers {
			made.headers = append(made.headers, pair{*header[0], raw(header[1], 1)})
		}
		rows = append(rows, made)
	}
	return rows
}

func plain(record *kgo.Record) row {
	made := row{record.Key, record.Value, nil}
	for _, header := range record.Headers {
		made.headers = append(made.headers, pair{header.Key, header.Value})
	}
	return made
}

func take(reader *kgo.Client, count int) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var found []*kgo.Record
	for len(found) < count {
		fetches := reader.PollRecords(ctx, count-len(found))
		if ctx.Err() != nil {
			return nil, fmt.Errorf("only %d of %d records came", len(found), count)
		}
		found = append(found, fetches.Records()...)
	}
	return found, nil
}

func write() {
	for _, name := range codecs {
		check("write "+name, func() error {
			sender := open(kgo.ProducerBatchCompression(codec[name]), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			defer sender.Close()
			var records []*kgo.Record
			for _, one := range words() {
				record := &kgo.Record{Topic: "words-" + client + "-" + name, Key: one.key, Value: one.value}
				for _, header := range one.headers {
					record.Headers = append(record.Headers, kgo.RecordHeader{Key: header.name, Value: header.value})
				}
				records = append(records, record)
			}
			results := sender.ProduceSync(context.Background(), records...)
			for i, result := range results {
				if result.Err == nil && result.Record.Offset != int64(i) {
					return fmt.Errorf("record %d is at offset %d", i, result.Record.Offset)
				}
			}
			return results.FirstErr()
		})
	}
}

func read(writers []string) {
	for _, writer := range writers {
		check("read what "+writer+" wrote", func() error {
			for _, name := range codecs {
				topic := "words-" + writer + "-" + name
				start := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}
				reader := open(kgo.ConsumePartitions(start))
				found, err := take(reader, len(words()))
				reader.Close()
				if err != nil {
					return err
				}
				for i, one := range words() {
					if !reflect.DeepEqual(plain(found[i]), one) {
						return fmt.Errorf("%s: record %d is %v, should be %v", name, i, plain(found[i]), one)
					}
				}
			}
			return nil
		})
	}
}

func rest() {
	ctx := context.Background()
	check("admin: create, describe, alter, delete", func() error {
		made := open()
		defer made.Close()
		admin, topic := kadm.NewClient(made), client+"-admin"
		if _, err := admin.CreateTopic(ctx, 3, 1, map[string]*string{"retention.ms": kadm.StringPtr("60000")}, topic); err != nil {
			return err
		}
		details, err := admin.ListTopics(ctx, topic)
		if err != nil || len(details[topic].Partitions) != 3 {
			return fmt.Errorf("partitions: %v, %w", details, err)
		}
		change := kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("70000")}
		if _, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{change}, topic); err != nil {
			return err
		}
		configs, err := admin.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return err
		}
		for _, config := range configs[0].Configs {
			if config.Key == "retention.ms" && config.MaybeValue() != "70000" {
				return fmt.Errorf("retention.ms is %s", config.MaybeValue())
			}
		}
		_, err = admin.DeleteTopic(ctx, topic)
		return err
	})
	check("idempotent producer", func() error {
		sender := open(kgo.DefaultProduceTopic(client + "-idem"))
		defer sender.Close()
		var records []*kgo.Record
		for i := range 500 {
			records = append(records, kgo.StringRecord(strconv.Itoa(i)))
		}
		return sender.ProduceSync(ctx, records...).FirstErr()
	})
	check("transactions: committed records are read, aborted ones are not", func() error {
		topic := client + "-txn"
		sender := open(kgo.TransactionalID(topic), kgo.DefaultProduceTopic(topic))
		defer sender.Close()
		for round, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
			if err := sender.BeginTransaction(); err != nil {
				return err
			}
			for i := range 3 {
				record := kgo.StringRecord(fmt.Sprintf("%d-%d", round, i))
				if err := sender.ProduceSync(ctx, record).FirstErr(); err != nil {
					return err
				}
			}
			if err := sender.EndTransaction(ctx, end); err != nil {
				return err
			}
		}
		reader := open(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		defer reader.Close()
		found, err := take(reader, 6)
		if err != nil {
			return err
		}
		for i, record := range found {
			if wanted := fmt.Sprintf("%d-%d", i/3*2, i%3); string(record.Value) != wanted {
				return fmt.Errorf("record %d is %s, should be %s", i, record.Value, wanted)
			}
		}
		return nil
	})
}

func resume(group, topic, from, number, note string) {
	check("continues at the committed offset "+note, func() error {
		first, _ := strconv.Atoi(from)
		count, _ := strconv.Atoi(number)
		reader := open(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit())
		defer reader.Close()
		found, err := take(reader, count)
		if err != nil {
			return err
		}
		for i, record := range found {
			if record.Offset != int64(first+i) {
				return fmt.Errorf("offset %d, should be %d", record.Offset, first+i)
			}
		}
		return reader.CommitRecords(context.Background(), found...)
	})
}

func partitions(all map[string][]int32) string {
	var texts []string
	for _, some := range all {
		for _, partition := range some {
			texts = append(texts, strconv.Itoa(int(partition)))
		}
	}
	return strings.Join(texts, ",")
}

func member(group, topic, instance string) {
	told := func(kind string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, all map[string][]int32) { say(kind, partitions(all)) }
	}
	options := []kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.Balancers(kgo.RangeBalancer()),
		kgo.AutoCommitInterval(200 * time.Millisecond), kgo.OnPartitionsAssigned(told("assigned")),
		kgo.OnPartitionsRevoked(told("revoked")), kgo.OnPartitionsLost(told("revoked")),
	}
	if instance != "-" {
		options = append(options, kgo.InstanceID(instance))
	}
	reader := open(options...)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	for ctx.Err() == nil {
		for _, record := range reader.PollFetches(ctx).Records() {
			say("record", strconv.Itoa(int(record.Partition)), strconv.FormatInt(record.Offset, 10))
		}
	}
	_ = reader.CommitUncommittedOffsets(context.Background())
	reader.Close()
}

func main() {
	given := os.Args[2:]
	switch os.Args[1] {
	case "write":
		write()
	case "read":
		read(given)
	case "rest":
		rest()
	case "resume":
		resume(given[0], given[1], given[2], given[3], given[4])
	case "member":
		member(given[0], given[1], given[2])
	default:
		say("skipped", os.Args[1], "this client has no such phase")
	}
}
