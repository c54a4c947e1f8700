/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Syntax of the language after parsing: expressions over families, and the small language of the
 * closures. Nodes live in the program's arena and are not changed once checked. Text is kept as ids
 * of the program's own string pool; a run maps them to the batch's ids. Folder-private.
 */

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "mal/function.h"
#include "mal/pool.h"
#include "mal/rules.h"

struct mal_regex {
	struct mal_regex *next;
	pcre2_code *code; /* owned by the program */
	uint32_t groups;  /* capturing groups */
};

/* What owns the syntax of one rule file. */
struct mal_program {
	struct mal_arena arena;
	struct mal_strings strings;
	struct mal_regex *regexes;
	size_t regex_bytes;
	uint32_t n_lists; /* different lists of strings: each has a number */
	uint32_t n_memos; /* calls of expPrefix and expSuffix: each has a number */
};

int mal_program_init(struct mal_program *p) _must_check_;
void mal_program_done(struct mal_program *p);

/* Where and why a text was refused. */
struct mal_error {
	size_t offset; /* bytes from the start of the text */
	char message[256];
};

#define MAL_HEIGHT_MAX 512 /* of a syntax tree */

/* --- expressions --- */

enum mal_fn {
	MAL_FN_TAG_EQUAL,
	MAL_FN_TAG_NOT_EQUAL,
	MAL_FN_TAG_MATCH,
	MAL_FN_TAG_NOT_MATCH,
	MAL_FN_VALUE_EQUAL,
	MAL_FN_VALUE_NOT_EQUAL,
	MAL_FN_VALUE_GREATER,
	MAL_FN_VALUE_GREATER_EQUAL,
	MAL_FN_VALUE_LESS,
	MAL_FN_VALUE_LESS_EQUAL,
	MAL_FN_PLUS,
	MAL_FN_MINUS,
	MAL_FN_MULTIPLY,
	MAL_FN_DIV,
	MAL_FN_SAFE_DIV,
	MAL_FN_NEGATIVE,
	MAL_FN_SUM,
	MAL_FN_MAX,
	MAL_FN_MIN,
	MAL_FN_AVG,
	MAL_FN_COUNT,
	MAL_FN_INCREASE,
	MAL_FN_RATE,
	MAL_FN_IRATE,
	MAL_FN_TAG,
	MAL_FN_FOR_EACH,
	MAL_FN_RETAG_BY_K8S_META,
	MAL_FN_HISTOGRAM,
	MAL_FN_HISTOGRAM_PERCENTILE,
	MAL_FN_DOWNSAMPLING,
	MAL_FN_SERVICE,
	MAL_FN_INSTANCE,
	MAL_FN_ENDPOINT,
	MAL_FN_PROCESS,
	MAL_FN_SERVICE_RELATION,
	MAL_FN_INSTANCE_RELATION,
	MAL_FN_PROCESS_RELATION,
	MAL_FN_DECORATE,
	MAL_FN_DEBUG_DUMP,
	_MAL_FN_MAX,
};

enum mal_enum_type {
	MAL_ENUM_LAYER,
	MAL_ENUM_DETECT_POINT,
	MAL_ENUM_K8S_RETAG,
	MAL_ENUM_DOWNSAMPLING,
	MAL_ENUM_TIME_UNIT,
	_MAL_ENUM_MAX,
};

enum mal_arg_kind {
	MAL_ARG_EXPR,
	MAL_ARG_STRINGS,
	MAL_ARG_NUMBERS,
	MAL_ARG_STRING,
	MAL_ARG_CLOSURE,
	MAL_ARG_ENUM,
	MAL_ARG_BOOL,
	MAL_ARG_NULL,
};

struct mal_expr;
struct mal_closure;

struct mal_arg {
	enum mal_arg_kind kind;
	size_t offset;
	union {
		struct mal_expr *expr;
		struct {
			uint32_t *ids;
			size_t n;
			uint32_t list; /* its number, the same for equal lists */
		} strings;
		struct {
			double *v;
			size_t n;
		} numbers;
		uint32_t string;
		struct mal_closure *closure;
		struct {
			enum mal_enum_type type;
			int member;    /* Layer: 0 */
			uint32_t name; /* of the member */
		} en;
		bool boolean;
	};
	const struct mal_regex *regex; /* set by the checker for tagMatch's patterns */
};

enum mal_expr_kind {
	MAL_EXPR_NUMBER,
	MAL_EXPR_TIME, /* time() */
	MAL_EXPR_METRIC,
	MAL_EXPR_HEAD, /* what a prefix or suffix is put behind */
	MAL_EXPR_NEGATE,
	MAL_EXPR_BINARY,
	MAL_EXPR_CALL,
};

struct mal_expr {
	enum mal_expr_kind kind;
	unsigned height; /* nodes below it: bounds the recursion of who walks it */
	size_t offset;
	union {
		double number;
		struct {
			uint32_t name;
			bool prefixed; /* stands in the rule itself: the file's prefix comes behind it */
		} metric;
		struct mal_expr *operand;
		struct {
			char op;
			struct mal_expr *lhs, *rhs;
		} binary;
		struct {
			enum mal_fn fn;
			bool function_form; /* count(x, […]): its tags are no aggregation labels */
			struct mal_expr *receiver;
			struct mal_arg *args;
			size_t n_args;
			int64_t duration_ms; /* increase, rate */
			uint32_t memo; /* what it gives is kept for the run; 0: for the call */
			/* OAP compiles it and fails each run. NULL: it does not */
			const char *fault;
			bool fault_on_empty; /* without any sample too */
		} call;
	};
};

/* --- closures --- */

enum mal_value_type { /* as far as the text tells */
	MAL_TYPE_ANY,
	MAL_TYPE_NULL,
	MAL_TYPE_STRING,
	MAL_TYPE_NUMBER,
	MAL_TYPE_BOOL,
	MAL_TYPE_ARRAY,	 /* String[] */
	MAL_TYPE_MATCH,	 /* String[][] of =~ */
	MAL_TYPE_LABELS, /* the labels, or a map literal */
	MAL_TYPE_ENTITY, /* what decorate() works on */
};

enum mal_cx_kind {
	MAL_CX_STRING,
	MAL_CX_NUMBER,
	MAL_CX_NULL,
	MAL_CX_BOOL,
	MAL_CX_LOCAL,
	MAL_CX_FIELD, /* a.name */
	MAL_CX_INDEX, /* a[b] */
	MAL_CX_METHOD,
	MAL_CX_REGISTRY, /* ProcessRegistry.* */
	MAL_CX_NEGATE,
	MAL_CX_MUL,
	MAL_CX_DIV,
	MAL_CX_ADD,
	MAL_CX_SUB,
	MAL_CX_MATCH,	/* a =~ regex */
	MAL_CX_TERNARY, /* a ? c : d, with a comparison: a op b ? c : d */
	MAL_CX_ELVIS,
	MAL_CX_MAP,
	MAL_CX_OR,
	MAL_CX_AND,
	MAL_CX_NOT,
	MAL_CX_EQ,
	MAL_CX_NE,
	MAL_CX_GT,
	MAL_CX_LT,
	MAL_CX_GE, /* only inside a ternary */
	MAL_CX_LE,
	MAL_CX_IN,
};

/* Java String methods, and size() and length of arrays. */
enum mal_method {
	MAL_METHOD_CONTAINS,
	MAL_METHOD_STARTS_WITH,
	MAL_METHOD_ENDS_WITH,
	MAL_METHOD_EQUALS,
	MAL_METHOD_EQUALS_IGNORE_CASE,
	MAL_METHOD_IS_EMPTY,
	MAL_METHOD_IS_BLANK,
	MAL_METHOD_LENGTH,
	MAL_METHOD_SIZE,
	MAL_METHOD_TRIM,
	MAL_METHOD_STRIP,
	MAL_METHOD_TO_LOWER_CASE,
	MAL_METHOD_TO_UPPER_CASE,
	MAL_METHOD_SUBSTRING,
	MAL_METHOD_INDEX_OF,
	MAL_METHOD_LAST_INDEX_OF,
	MAL_METHOD_CONCAT,
	MAL_METHOD_REPLACE,
	MAL_METHOD_REPLACE_ALL,
	MAL_METHOD_REPLACE_FIRST,
	MAL_METHOD_MATCHES,
	MAL_METHOD_SPLIT,
	MAL_METHOD_TO_STRING,
	MAL_METHOD_PUT,
	MAL_METHOD_REMOVE,
	_MAL_METHOD_MAX,
};

struct mal_cx {
	enum mal_cx_kind kind;
	enum mal_value_type type;
	unsigned height; /* as in struct mal_expr */
	size_t offset;
	union {
		uint32_t string; /* STRING */
		struct {
			double value;
			int64_t integer;
			bool is_integer;
		} number;
		bool boolean;
		uint32_t local; /* slot */
		struct {
			enum mal_cx_kind
				op; /* TERNARY: EQ, NE, GT, …; TERNARY itself without a comparison */
			struct mal_cx *a, *b, *c, *d;
			uint32_t name;		       /* FIELD */
			const struct mal_regex *regex; /* MATCH */
		} op;
		struct {
			enum mal_method method; /* REGISTRY: enum sonde_mal_virtual */
			bool safe;		/* ?. */
			struct mal_cx *on;
			struct mal_cx *args[3];
			size_t n_args;
			const struct mal_regex *regex; /* of a literal pattern */
		} method;
		struct {
			struct mal_cx **v; /* IN: strings. MAP: key, value, key, value … */
			size_t n;
			struct mal_cx *on; /* IN */
		} list;
	};
};

enum mal_st_kind {
	MAL_ST_IF,
	MAL_ST_RETURN,
	MAL_ST_LOCAL,
	MAL_ST_LABEL,
	MAL_ST_ATTRIBUTE,
	MAL_ST_EXPR
};

struct mal_st {
	struct mal_st *next;
	enum mal_st_kind kind;
	size_t offset;
	struct mal_cx *a;   /* condition, returned or assigned value; RETURN: may be NULL */
	struct mal_cx *key; /* LABEL */
	struct mal_cx *map; /* LABEL */
	uint32_t slot;	    /* LOCAL: slot, ATTRIBUTE: 0 to 5 */
	struct mal_st *then, *otherwise; /* IF */
};

enum mal_closure_kind {
	MAL_CLOSURE_FILTER,
	MAL_CLOSURE_TAG,
	MAL_CLOSURE_FOR_EACH,
	MAL_CLOSURE_INSTANCE,
	MAL_CLOSURE_DECORATE,
};

#define MAL_LOCALS_MAX 32 /* parameters and locals of one closure */

struct mal_closure {
	enum mal_closure_kind kind;
	size_t offset;
	size_t n_params;
	size_t n_locals;	  /* parameters included, which come first */
	struct mal_cx *condition; /* a body of one bare expression; else NULL */
	struct mal_st *body;
};
