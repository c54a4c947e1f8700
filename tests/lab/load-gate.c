/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load-gate OBJECT…: loads each program of each BPF object here and prints what
 * the verifier said, as CSV: object,program,verdict,instructions,states,why
 *
 *   loads      the verifier took it; instructions and states are its own count
 *   absent     this kernel has nothing to attach it to
 *   forbidden  refused before the verifier looked at it (EPERM without a word)
 *   refused    the verifier refused it; why is its last word
 *
 * Nothing is attached. tests/lab/judge-load holds the rows against the base line.
 * Exit status: 0 when each object was asked, whatever the verdicts; 1 otherwise.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"

#define PROGRAMS_MAX 64
#define LOG_BYTES (256 * 1024)
#define LOG_STATS 4 /* the kernel's BPF_LOG_STATS: one line of counts, and what it refuses for */

enum verdict {
	PENDING = 0,
	LOADS,
	ABSENT,
	FORBIDDEN,
	REFUSED,
};

static const char *const verdict_names[] = {"pending", "loads", "absent", "forbidden", "refused"};

struct row {
	enum verdict verdict;
	uint64_t instructions, states;
	char why[160];
};

struct object {
	const char *path;
	struct row rows[PROGRAMS_MAX];
	char *logs[PROGRAMS_MAX]; /* owned; the verifier's, of the last load */
	size_t n;
};

static char failed_program[64]; /* libbpf says which one only in words */

static _printf_(2, 0) int on_libbpf_log(enum libbpf_print_level level, const char *fmt,
					va_list args)
{
	static const char prefix[] = "libbpf: prog '", suffix[] = "': failed to ";
	char line[512];
	char *name, *end;

	(void)vsnprintf(line, sizeof(line), fmt, args);
	name = strstr(line, prefix);
	if (!name)
		return 0;
	name += strlen(prefix);
	end = strstr(name, suffix);
	if (end && (size_t)(end - name) < sizeof(failed_program)) {
		memcpy(failed_program, name, (size_t)(end - name));
		failed_program[end - name] = '\0';
	}
	return 0;
}

/* The last line of the verifier's log before its counts, which begin with these on newer kernels. */
static void last_word(const char *log, char *dst, size_t size)
{
	static const char *const counts[] = {"verification time ", "stack depth ", "processed "};
	size_t n = strlen(log), start;

	for (size_t i = 0; i < ELEMENTS_OF(counts); i++) {
		const char *at = strstr(log, counts[i]);

		if (at && (size_t)(at - log) < n)
			n = (size_t)(at - log);
	}

	while (n > 0 && log[n - 1] == '\n')
		n--;
	for (;;) {
		for (start = n; start > 0 && log[start - 1] != '\n';)
			start--;
		if (start == 0 || log[start] != ';') /* a line of our source */
			break;
		n = start - 1;
	}
	(void)snprintf(dst, size, "%.*s", (int)(n - start), log + start);
	for (char *c = dst; *c; c++) {
		if (*c == ',' || *c == '"')
			*c = ';';
	}
}

/* The number behind @word; 0 where the log has none. */
static uint64_t number_behind(const char *log, const char *word)
{
	const char *at = strstr(log, word);
	uint64_t n = 0;

	if (!at)
		return 0;
	for (at += strlen(word); *at >= '0' && *at <= '9'; at++)
		n = n * 10 + (uint64_t)(*at - '0');
	return n;
}

static void read_counts(const char *log, struct row *row)
{
	row->instructions = number_behind(log, "processed ");
	row->states = number_behind(log, "total_states ");
}

static void judge_failure(struct row *row, const char *log, int error)
{
	if (log[0]) {
		row->verdict = REFUSED;
		last_word(log, row->why, sizeof(row->why));
		return;
	}
	switch (error) {
	case -ESRCH:
	case -ENOENT:
		row->verdict = ABSENT;
		break;
	case -EPERM:
		row->verdict = FORBIDDEN;
		break;
	default:
		row->verdict = REFUSED;
	}
	(void)snprintf(row->why, sizeof(row->why), "%s", strerror(-error));
}

/* Every program that has no verdict yet gets its log, the others stay out. */
static int set_up(struct object *o, struct bpf_object *object)
{
	struct bpf_program *p;
	size_t i = 0;
	int r = 0;

	bpf_object__for_each_program (p, object) {
		if (i == PROGRAMS_MAX)
			return -E2BIG;
		if (!o->logs[i])
			o->logs[i] = malloc(LOG_BYTES);
		if (!o->logs[i])
			return -ENOMEM;
		o->logs[i][0] = '\0';
		r |= bpf_program__set_autoload(p, o->rows[i].verdict == PENDING);
		r |= bpf_program__set_log_level(p, LOG_STATS);
		r |= bpf_program__set_log_buf(p, o->logs[i], LOG_BYTES);
		i++;
	}
	o->n = i;
	return r ? -EINVAL : 0;
}

/* Return: 1 when a program got a verdict, 0 when all have one, -errno. */
static int load_turn(struct object *o, struct bpf_object *object)
{
	struct bpf_program *p;
	size_t i = 0;
	int error;

	failed_program[0] = '\0';
	error = bpf_object__load(object);
	bpf_object__for_each_program (p, object) {
		struct row *row = &o->rows[i];

		if (error && strcmp(bpf_program__name(p), failed_program) == 0 &&
		    row->verdict == PENDING) {
			judge_failure(row, o->logs[i], error);
			return 1;
		}
		/* Before the one that failed, or all: libbpf loads in this order. */
		if (row->verdict == PENDING && o->logs[i][0]) {
			row->verdict = LOADS;
			read_counts(o->logs[i], row);
		}
		i++;
	}
	return error;
}

static int ask(struct object *o)
{
	int r = 1;

	while (r == 1) {
		struct bpf_object *object = bpf_object__open_file(o->path, NULL);

		if (!object)
			return sonde_log_err(-errno, "cannot open '%s'", o->path);
		r = set_up(o, object);
		if (r == 0)
			r = load_turn(o, object);
		bpf_object__close(object);
	}
	return r;
}

/* What no program can have, whatever is left out: a map that this kernel refuses, say. */
static void refuse_rest(struct object *o, int error)
{
	for (size_t i = 0; i < o->n; i++) {
		if (o->rows[i].verdict != PENDING)
			continue;
		o->rows[i].verdict = REFUSED;
		(void)snprintf(o->rows[i].why, sizeof(o->rows[i].why), "its object: %s",
			       strerror(-error));
	}
}

static void print(const struct object *o)
{
	struct bpf_object *object = bpf_object__open_file(o->path, NULL);
	const char *name = strrchr(o->path, '/');
	struct bpf_program *p;
	size_t i = 0;

	if (!object)
		return;
	name = name ? name + 1 : o->path;
	bpf_object__for_each_program (p, object) {
		const struct row *row = &o->rows[i++];

		(void)printf("%s,%s,%s,%" PRIu64 ",%" PRIu64 ",%s\n", name, bpf_program__name(p),
			     verdict_names[row->verdict], row->instructions, row->states, row->why);
	}
	bpf_object__close(object);
}

static void done(struct object *o)
{
	for (size_t i = 0; i < PROGRAMS_MAX; i++)
		free(o->logs[i]);
}

int main(int argc, char *argv[])
{
	int status = argc > 1 ? 0 : 1;

	sonde_log_set_program("load-gate");
	(void)libbpf_set_print(on_libbpf_log);
	(void)puts("object,program,verdict,instructions,states,why");
	for (int i = 1; i < argc; i++) {
		struct object o = {.path = argv[i]};

		int r = ask(&o);

		if (r < 0)
			refuse_rest(&o, r);
		if (o.n == 0)
			status = 1;
		print(&o);
		done(&o);
	}
	return status;
}
