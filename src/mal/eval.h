/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Eval: one expression over one batch. What fails returns -EINVAL and leaves its words in the
 * message; the caller drops the rule's result. Folder-private, and the conformance test's.
 */

#include "base/buf.h"
#include "mal/ast.h"
#include "mal/entity.h"
#include "mal/family.h"
#include "mal/memo.h"
#include "mal/run.h"
#include "mal/window.h"

struct mal_answer; /* of the host in this run */

/* What a chain of tag, forEach and retagByK8sMeta made of sets. */
struct mal_relabelled {
	struct mal_memo sets;
	bool looks_at_le; /* else what it does to a set without `le` it does to the one with it */
};

/* Two strings and what they make, one behind the other. */
struct mal_joined {
	uint32_t a, b, both;
};
#define MAL_JOINED 256

/* What histogram() makes of bounds in one unit. */
struct mal_unit {
	struct mal_memo bounds; /* text of a bound to what it says */
	struct mal_memo sets;	/* set to the one with the bound in the unit of storage */
};

/* What is the same for all rules of a run. Embedded by the engine. */
struct mal_eval {
	struct sonde_mal_batch
		*batch; /* borrowed, as all pointers here that are not said to be owned */
	struct mal_strings *strings; /* the batch's */
	struct mal_sets *sets;	     /* likewise */
	const struct mal_program *program;
	uint32_t *consts; /* program's string id to the batch's, 0 = not asked yet; in run_arena */
	struct mal_arena run_arena;  /* owned; lives for a run: prefix and filter results */
	struct mal_arena rule_arena; /* owned; lives for a rule */
	struct mal_arena *arena;     /* the one of the two that results go to */
	const struct sonde_mal_host *host;
	struct mal_window *window;
	struct mal_answer *answers; /* memory of run_arena */
	size_t answers_cap, answers_n;
	struct mal_joined *joined; /* texts that were put together, MAL_JOINED of them; run_arena */
	/* What was worked out in this run, all in run_arena. */
	struct mal_grouped *by_list;	/* by list of keys */
	struct mal_relabelled *by_call; /* by call of prefix or suffix */
	struct mal_entities **entities; /* by call of prefix or suffix */
	struct mal_unit units[2];	/* of histogram(): seconds, milliseconds */
	struct mal_memo key_texts[2];	/* set to the id of its text, and of that without `le` */
	struct mal_memo bounds;		/* id of a `le` to its number */
	uint32_t le;			/* the id of "le" */
	int64_t fuel;			/* steps until the clock is looked at */
	int64_t end_ms;	   /* of the thread's time, when the run has to stop; 0: not looked yet */
	bool milliseconds; /* default unit of histogram() */
	bool cut_names;	   /* name control of entities */
	bool strict;	   /* each counter has its own window, and counts on where it began anew */
	const struct sonde_mal_rule *rule; /* that is run; only `strict` asks */
	bool need_address; /* a remote process without address fails, as in OAP; vectors take any */
	struct mal_family head;
	/* How a metric reference is answered: the engine filters, and puts the prefix behind it. NULL: from the batch. */
	int (*metric)(struct mal_eval *ev, const struct mal_expr *e, struct mal_family *ret);
	void *metric_ctx;
	/* Told of each family that a metric, call or operator gives. NULL: of none. */
	void (*step)(struct mal_eval *ev, const struct mal_expr *e, const struct mal_family *f);
	const char *const *layers; /* names that Layer knows beyond the built-in ones, NULL-ended */
	struct sonde_buf scratch;  /* owned; text under construction */
	pcre2_match_data *match;   /* owned */
	pcre2_match_context *match_context; /* owned */
	char message[256];
};

int mal_eval_init(struct mal_eval *ev) _must_check_;
void mal_eval_done(struct mal_eval *ev);

/* Before each run: forgets the arenas and the memo. Return: 0, -ENOMEM. */
int mal_eval_begin(struct mal_eval *ev, struct sonde_mal_batch *b,
		   const struct mal_program *p) _must_check_;

/* Why the rule fails. The macros are the error codes, which every reader of them can see. */
void mal_eval_say(struct mal_eval *ev, const char *fmt, ...) _printf_(2, 3);
#define mal_eval_fail(ev, ...) (mal_eval_say((ev), __VA_ARGS__), -EINVAL)
#define mal_eval_no_memory(ev)                                                                     \
	(mal_eval_say((ev), "too much data for one run, or out of memory"), -ENOMEM)

/* Looks at the clock. -EINVAL: the run has taken SONDE_MAL_RUN_MS of the processor's time. */
int mal_eval_refuel(struct mal_eval *ev) _must_check_;

/* Before work of @steps, each some ten nanoseconds: a hostile rule may not stall who runs it. */
static inline _must_check_ int mal_eval_spend(struct mal_eval *ev, int64_t steps)
{
	ev->fuel -= steps;
	return ev->fuel >= 0 ? 0 : mal_eval_refuel(ev);
}

/* A string of the program as the batch's id, asked for the first time in this run. */
int mal_eval_new_const(struct mal_eval *ev, uint32_t id, uint32_t *ret) _must_check_;

/* A string of the program as the batch's id. */
static inline _must_check_ int mal_eval_const(struct mal_eval *ev, uint32_t id, uint32_t *ret)
{
	*ret = id <= MAL_STR_EMPTY ? id : ev->consts[id];
	return *ret || id == MAL_STR_NULL ? 0 : mal_eval_new_const(ev, id, ret);
}

int mal_eval_expr(struct mal_eval *ev, const struct mal_expr *e,
		  struct mal_family *ret) _must_check_;

/* 1 match, 0 none. @full: the whole text has to match. Captures are in ev->match. */
int mal_eval_regex(struct mal_eval *ev, const struct mal_regex *re, const char *text, size_t len,
		   size_t from, bool full) _must_check_;

/* --- closures --- */

/* What closures work on. */
struct mal_labels {
	struct mal_pair v[SONDE_MAL_LABELS_MAX];
	uint32_t n;
	uint32_t hidden; /* a key that was left out, MAL_STR_NULL: none */
	bool touched;	 /* what was done would have been otherwise with the hidden one */
};

/* MAL_STR_EMPTY: absent. */
uint32_t mal_labels_get_or_empty(struct mal_labels *l, uint32_t key);

/* The labels of @set but for @hidden, which may be MAL_STR_NULL. */
int mal_labels_of(struct mal_eval *ev, const struct mal_set *set, uint32_t hidden,
		  struct mal_labels *ret) _must_check_;

/* tag, forEach: @labels are worked on in place. @element: MAL_STR_NULL unless forEach. */
int mal_closure_run(struct mal_eval *ev, const struct mal_closure *c, uint32_t element,
		    struct mal_labels *labels) _must_check_;

/* filter: 1 keep, 0 drop. */
int mal_closure_filter(struct mal_eval *ev, const struct mal_closure *c,
		       const struct mal_set *s) _must_check_;

/* decorate. */
int mal_closure_decorate(struct mal_eval *ev, const struct mal_closure *c,
			 struct mal_entity *e) _must_check_;

/* --- function groups, each over a family that is not EMPTY --- */

int mal_family_filter_tags(struct mal_eval *ev, const struct mal_expr *call,
			   const struct mal_family *in, struct mal_family *ret) _must_check_;
int mal_family_aggregate(struct mal_eval *ev, const struct mal_expr *call,
			 const struct mal_family *in, struct mal_family *ret) _must_check_;
int mal_family_count(struct mal_eval *ev, const struct mal_expr *call, const struct mal_family *in,
		     struct mal_family *ret) _must_check_;
int mal_family_histogram(struct mal_eval *ev, const struct mal_expr *call,
			 const struct mal_family *in, struct mal_family *ret) _must_check_;
/* tag, forEach, retagByK8sMeta: a chain of them is one step, of which @call is the last. */
bool mal_is_relabel(const struct mal_expr *e);
int mal_family_relabel(struct mal_eval *ev, const struct mal_expr *call,
		       const struct mal_family *in, struct mal_family *ret) _must_check_;
int mal_family_join(struct mal_eval *ev, char op, const struct mal_family *lhs,
		    const struct mal_family *rhs, struct mal_family *ret) _must_check_;
int mal_family_entities(struct mal_eval *ev, const struct mal_expr *call,
			const struct mal_family *in, struct mal_family *ret) _must_check_;

/* --- grouping, shared by aggregations and entities --- */

struct mal_grouping {
	uint32_t *group_of;	     /* by sample */
	uint32_t *first;	     /* by group: index of its first sample */
	const struct mal_set **sets; /* by group: its keys, absent = "" */
	uint32_t *order;	     /* groups in the order in which OAP walks them */
	size_t n_groups;
	uint64_t kept; /* its number among those that were kept for these keys; 0: it was not */
};

/* What is known of one list of keys. Zero but for sets' arena at first. */
struct mal_grouped {
	struct mal_memo sets; /* set to the set of the keys alone */
	/* what was grouped last and how, where its memory is the run's */
	const struct mal_set **in;
	size_t n, cap;
	struct mal_grouping last;
	uint64_t n_kept;
};

/* Labels to group by. */
struct mal_keys {
	const uint32_t *v;
	size_t n;
	struct mal_grouped *known;
};

/* *@ret is read only, and holds until the next call with these keys. */
int mal_group(struct mal_eval *ev, const struct mal_family *in, const struct mal_keys *keys,
	      struct mal_grouping *ret) _must_check_;

/* List argument as batch ids, in the current arena. */
int mal_eval_keys(struct mal_eval *ev, const struct mal_arg *arg,
		  struct mal_keys *ret) _must_check_;

/* mal_sets_put() for the batch, with words where it fails. */
int mal_eval_set(struct mal_eval *ev, const struct mal_pair *v, size_t n,
		 const struct mal_set **ret) _must_check_;
