/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * View: the server's JSON as tables and lines on cli->out. A missing or odd
 * member is "-", never a fault: an older or hostile server cannot break it.
 * All return an exit status (already told).
 */

#include <jansson.h>

#include "ctl/cli.h"
#include "ctl/table.h"

/* Prints with the look that flags and terminal ask for. */
int sonde_view_table(struct sonde_cli *cli, const struct sonde_table *table);

/* A table with a row of each of @rows: @cells adds its cells. */
int sonde_view_rows(struct sonde_cli *cli, const struct sonde_column *columns, const json_t *rows,
		    void (*cells)(const struct sonde_cli *cli, struct sonde_table *t,
				  const json_t *row));

/* In place of one without a row: -o csv has its heading alone, other forms nothing; a wrong --columns is told in each. */
int sonde_view_no_rows(struct sonde_cli *cli, const struct sonde_table *table);

/* "HEADING" in bold behind an empty line; none with --no-headers. */
void sonde_view_heading(struct sonde_cli *cli, const char *heading);

/* Escapes @text on its way to the output. */
void sonde_view_text(struct sonde_cli *cli, const char *text);

/* "label      TEXT"; nothing for a NULL or empty @text. */
void sonde_view_line(struct sonde_cli *cli, const char *label, const char *text);
/* The same of a member of @object; what is a time is shown in local time. */
void sonde_view_line_of(struct sonde_cli *cli, const json_t *object, const char *label,
			const char *key);
void sonde_view_line_time(struct sonde_cli *cli, const json_t *object, const char *label,
			  const char *key);

/* "more: --cursor …" where @answer is one page of several. */
void sonde_view_next(struct sonde_cli *cli, const json_t *answer);

enum sonde_style sonde_view_state_style(const char *state);

/* Cells. NULL or null = "-". */
void sonde_cell_text(struct sonde_table *t, const json_t *object, const char *key);
void sonde_cell_count(struct sonde_table *t, const json_t *object, const char *key);
/* A port, a pid, a status: its digits are not grouped. */
void sonde_cell_number(struct sonde_table *t, const json_t *object, const char *key);
void sonde_cell_bytes(struct sonde_table *t, const json_t *object, const char *key);
void sonde_cell_us(struct sonde_table *t, const json_t *object, const char *key);
void sonde_cell_ns(struct sonde_table *t, const json_t *object, const char *key);
void sonde_cell_time(struct sonde_table *t, const struct sonde_cli *cli, const json_t *object,
		     const char *key);
/* "12 (fast 10, tlp 2)" of {"fast": 10, "tlp": 2}; @total: NULL or null = the sum. */
void sonde_cell_kinds(struct sonde_table *t, const json_t *kinds, const json_t *total);
void sonde_cell_state(struct sonde_table *t, const json_t *object, const char *key);

/* Of a task as GET /tasks/{id} gives it. */
/* Whether it never was in state running: then there is nothing that it could have measured. */
bool sonde_view_never_ran(const json_t *task);
/* When it is to start, of a task that was given a time (--at) and has not begun. False: none. */
bool sonde_view_starts_at(const json_t *task, int64_t *ret_wall_ms);
int sonde_view_timeline(struct sonde_cli *cli, const json_t *task);
int sonde_view_targets(struct sonde_cli *cli, const json_t *task);
int sonde_view_probes(struct sonde_cli *cli, const json_t *task);
int sonde_view_absent(struct sonde_cli *cli, const json_t *task);
/* Nothing of a task that never ran. */
int sonde_view_cost(struct sonde_cli *cli, const json_t *task);
/* Also that there is none, and why: nothing before the end, or of a task that never ran. */
int sonde_view_idle_proof(struct sonde_cli *cli, const json_t *task);

/* Of one agent's answer to a question: of GET /agents/{id}/doctor, or (@task) one of POST /plan. */
int sonde_view_plan(struct sonde_cli *cli, const json_t *plan, bool task);

/*
 * Of GET …/ledger. @task: the task it is about, since one that never ran has no number to be exact;
 * NULL or null = it ran.
 */
int sonde_view_ledger(struct sonde_cli *cli, const json_t *ledger, const json_t *task);
/* How long there was no report of a task that has not ended, where that is longer than two of them take; else 0. */
int64_t sonde_view_silence_ms(const json_t *task, const json_t *reports);

/* Of GET …/topology: the edges of TCP, then those of UDP. */
int sonde_view_edges(struct sonde_cli *cli, const json_t *topology);
/* The note where there is none in @topology. */
void sonde_view_no_edge(struct sonde_cli *cli, const json_t *topology);
/*
 * Of an answer of GET …/topology, …/drops or …/rtt: the note of which time it is, where a part of the task was asked
 * for. It is made of whole steps, so it may be another than was asked for.
 */
void sonde_view_window(struct sonde_cli *cli, const json_t *answer);
struct sonde_graph;
int sonde_view_udp_edges(struct sonde_cli *cli, const json_t *topology,
			 const struct sonde_graph *graph);
/* What holds the edges of TCP back, and what went wrong on them beside loss. */
int sonde_view_limits(struct sonde_cli *cli, const json_t *edges, const struct sonde_graph *graph);
/* Under them: the targets of @task that are in no edge, and so had no traffic. */
int sonde_view_quiet(struct sonde_cli *cli, const json_t *task, const json_t *topology);
/* Those that were not there all the while, each with its reason; nothing where all were. */
int sonde_view_absentees(struct sonde_cli *cli, const json_t *task);
/* Under them: a line an edge with drops of class loss or retransmits, and which end saw them. */
int sonde_view_verdicts(struct sonde_cli *cli, const json_t *topology);
/* Whether a row of "drops" is of class loss, or of none. */
bool sonde_view_drop_is_loss(const json_t *drop);
/* Whether the receiver's side has the same packets: of a sum over ends, or a sentence about both, it is no part. */
bool sonde_view_drop_is_the_receivers(const json_t *drop);
/* Segments of class loss that a sum over ends takes from @side. */
int64_t sonde_view_own_loss(const json_t *side);
/* The notes of what a "-" among them stands for: a number is absent with its reason, never zero. */
int sonde_view_dashes(struct sonde_cli *cli, const json_t *topology);

/* Sum of counts that a server sent: never negative, never wrapped. */
static inline int64_t sonde_view_add(int64_t a, int64_t b)
{
	int64_t sum;

	if (b < 0)
		return a;
	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/* Of GET /compare. */
int sonde_view_compare(struct sonde_cli *cli, const json_t *answer);

struct sonde_view_totals {
	size_t edges;
	int64_t sent_bytes;
	int64_t received_bytes;
	int64_t sent_segments;
	int64_t retransmits;
	int64_t drops;
	size_t sides, with_bytes, with_retransmits,
		with_drops; /* which have them; others did not ask, or could not */
};

/* Bytes of an edge from one side only, which the other saw too; segments, retransmits and drops of both. */
void sonde_view_sum(const json_t *topology, struct sonde_view_totals *ret);

/* Entries that weaken numbers, summed; -1 = the ledger says it is not complete without a count. */
int64_t sonde_view_lost(const json_t *ledger);
