/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/ast.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mal/parser.h"

#define PROGRAM_BYTES (32U << 20)
#define PATTERN_MAX 4096
#define REGEX_BYTES (16U << 20) /* a short pattern may compile to 64 KiB and more */

int mal_program_init(struct mal_program *p)
{
	assert(p);

	*p = (struct mal_program){.arena = MAL_ARENA_INIT(PROGRAM_BYTES)};
	return mal_strings_init(&p->strings, PROGRAM_BYTES);
}

void mal_program_done(struct mal_program *p)
{
	if (!p)
		return;
	for (struct mal_regex *r = p->regexes; r; r = r->next)
		pcre2_code_free(r->code);
	p->regexes = NULL;
	mal_strings_done(&p->strings);
	mal_arena_done(&p->arena);
}

/* Ids as bytes are no name's text: the upper byte of each is 0, as there are MAL_STRINGS_MAX at most. */
int mal_program_list(struct mal_program *p, const uint32_t *ids, size_t n, uint32_t *ret)
{
	uint32_t id;
	int r = mal_strings_put(&p->strings, (const char *)ids, n * sizeof(*ids), &id);

	if (r < 0)
		return r;
	if (!p->strings.v[id].tag)
		p->strings.v[id].tag = ++p->n_lists;
	*ret = p->strings.v[id].tag;
	return 0;
}

/* Java's "." stops at every Unicode line end, "\\w" and its kin are ASCII: so are PCRE2's by default. */
static pcre2_code *compile(const char *pattern, int *code, size_t *offset)
{
	pcre2_compile_context *cc = pcre2_compile_context_create(NULL);
	pcre2_code *re = NULL;

	*code = PCRE2_ERROR_NOMEMORY;
	if (!cc)
		return NULL;
	(void)pcre2_set_newline(cc, PCRE2_NEWLINE_ANY);
	(void)pcre2_set_max_pattern_length(cc, PATTERN_MAX);
	(void)pcre2_set_parens_nest_limit(cc, 64);
	re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
			   PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C, code,
			   offset, cc);
	pcre2_compile_context_free(cc);
	return re;
}

int mal_regex_new(struct mal_program *p, const char *pattern, char *message, size_t size,
		  const struct mal_regex **ret)
{
	struct mal_regex *r;
	size_t offset = 0, bytes = 0;
	int code;

	r = mal_arena_zalloc(&p->arena, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->code = compile(pattern, &code, &offset);
	if (!r->code) {
		char why[120] = "";

		if (code == PCRE2_ERROR_NOMEMORY)
			return -ENOMEM;
		(void)pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof(why));
		(void)snprintf(message, size, "expected a regex: %s at byte %zu of it", why,
			       offset);
		return -EINVAL;
	}
	(void)pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &r->groups);
	(void)pcre2_pattern_info(r->code, PCRE2_INFO_SIZE, &bytes);
	r->next = p->regexes;
	p->regexes = r;
	p->regex_bytes += bytes;
	if (p->regex_bytes > REGEX_BYTES) {
		(void)snprintf(message, size,
			       "expected regexes that take less than %u MiB in all of the file",
			       REGEX_BYTES >> 20);
		return -EINVAL;
	}
	*ret = r;
	return 0;
}

static const struct {
	const char *name;
	const char *signature;
} functions[] = {
	[MAL_FN_TAG_EQUAL] = {"tagEqual", "*"},
	[MAL_FN_TAG_NOT_EQUAL] = {"tagNotEqual", "*"},
	[MAL_FN_TAG_MATCH] = {"tagMatch", "*"},
	[MAL_FN_TAG_NOT_MATCH] = {"tagNotMatch", "*"},
	[MAL_FN_VALUE_EQUAL] = {"valueEqual", "N"},
	[MAL_FN_VALUE_NOT_EQUAL] = {"valueNotEqual", "N"},
	[MAL_FN_VALUE_GREATER] = {"valueGreater", "N"},
	[MAL_FN_VALUE_GREATER_EQUAL] = {"valueGreaterEqual", "N"},
	[MAL_FN_VALUE_LESS] = {"valueLess", "N"},
	[MAL_FN_VALUE_LESS_EQUAL] = {"valueLessEqual", "N"},
	[MAL_FN_PLUS] = {"plus", "X"},
	[MAL_FN_MINUS] = {"minus", "X"},
	[MAL_FN_MULTIPLY] = {"multiply", "X"},
	[MAL_FN_DIV] = {"div", "X"},
	[MAL_FN_SAFE_DIV] = {"safeDiv", "X"},
	[MAL_FN_NEGATIVE] = {"negative", ""},
	[MAL_FN_SUM] = {"sum", "l"},
	[MAL_FN_MAX] = {"max", "l"},
	[MAL_FN_MIN] = {"min", "l"},
	[MAL_FN_AVG] = {"avg", "l"},
	[MAL_FN_COUNT] = {"count", "l"},
	[MAL_FN_INCREASE] = {"increase", "S"},
	[MAL_FN_RATE] = {"rate", "S"},
	[MAL_FN_IRATE] = {"irate", ""},
	[MAL_FN_TAG] = {"tag", "C"},
	[MAL_FN_FOR_EACH] = {"forEach", "LC"},
	[MAL_FN_RETAG_BY_K8S_META] = {"retagByK8sMeta", "SKSS"},
	[MAL_FN_HISTOGRAM] = {"histogram", "|S|SU"},
	[MAL_FN_HISTOGRAM_PERCENTILE] = {"histogram_percentile", "n"},
	[MAL_FN_DOWNSAMPLING] = {"downsampling", "A"},
	[MAL_FN_SERVICE] = {"service", "LY|LsY"},
	[MAL_FN_INSTANCE] = {"instance", "LLY|LsLsYc"},
	[MAL_FN_ENDPOINT] = {"endpoint", "LLY|LLsY"},
	[MAL_FN_PROCESS] = {"process", "LLLS"},
	[MAL_FN_SERVICE_RELATION] = {"serviceRelation", "DLLY|DLLsYS"},
	[MAL_FN_INSTANCE_RELATION] = {"serviceInstanceRelation", "DLLLLY|DLLLLsYS"},
	[MAL_FN_PROCESS_RELATION] = {"processRelation", "SLLSSS"},
	[MAL_FN_DECORATE] = {"decorate", "C"},
	[MAL_FN_DEBUG_DUMP] = {"debugDump", ""},
};
_Static_assert(ELEMENTS_OF(functions) == _MAL_FN_MAX, "every function needs its line");

int mal_fn_by_name(const char *name, size_t len, enum mal_fn *ret)
{
	for (size_t i = 0; i < ELEMENTS_OF(functions); i++) {
		if (strlen(functions[i].name) == len && memcmp(functions[i].name, name, len) == 0) {
			*ret = (enum mal_fn)i;
			return 0;
		}
	}
	return -ENOENT;
}

const char *mal_fn_name(enum mal_fn fn)
{
	return functions[fn].name;
}

const char *mal_fn_signature(enum mal_fn fn)
{
	return functions[fn].signature;
}

static const char *const detect_points[] = {"CLIENT", "SERVER", "PROXY", NULL};
static const char *const k8s_retags[] = {"Pod2Service", NULL};
static const char *const downsamplings[] = {"AVG", "SUM", "LATEST", "SUM_PER_MIN",
					    "MAX", "MIN", NULL};
static const char *const time_units[] = {"NANOSECONDS", "MICROSECONDS", "MILLISECONDS", "SECONDS",
					 "MINUTES",	"HOURS",	"DAYS",		NULL};

int mal_enum_member(enum mal_enum_type type, const char *name, size_t len, int *ret)
{
	static const char *const *const members[] = {
		[MAL_ENUM_DETECT_POINT] = detect_points,
		[MAL_ENUM_K8S_RETAG] = k8s_retags,
		[MAL_ENUM_DOWNSAMPLING] = downsamplings,
		[MAL_ENUM_TIME_UNIT] = time_units,
	};

	if (type == MAL_ENUM_LAYER) {
		*ret = 0;
		return 0;
	}
	for (int i = 0; members[type][i]; i++) {
		if (strlen(members[type][i]) == len && memcmp(members[type][i], name, len) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -ENOENT;
}
