/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/oap/mqe.h"

#define POINTS 4

static json_t *labels(const char *a, const char *b)
{
	return b ? json_pack("[{s:s, s:s}, {s:s, s:s}]", "key", "role", "value", a, "key", "kind",
			     "value", b)
		 : json_pack("[{s:s, s:s}]", "key", "role", "value", a);
}

static int add(struct mqe_value *v, json_t *l, const double *points)
{
	struct mqe_series *s;
	int r = mqe_value_add(v, l, &s);

	if (r == 0)
		memcpy(s->points, points, POINTS * sizeof(double));
	return r;
}

/* How often the source was asked, and for how many terms there is time. */
static unsigned n_asked, n_terms = UINT_MAX;

static bool late(void *ctx)
{
	return n_terms-- == 0;
}

/* plain: one line; roles: two; kinds: two by three; many: as many as there may be, and one more; empty: none. */
static int metric(void *ctx, const char *name, struct mqe_value *ret)
{
	static const double plain[] = {1, 2, NAN, 4};
	int r = 0;

	assert_int_equal(ret->n_points, POINTS);
	n_asked++;
	if (strcmp(name, "slow") == 0)
		return -ETIME;
	if (strcmp(name, "plain") == 0)
		return add(ret, json_array(), plain);
	if (strcmp(name, "roles") == 0) {
		r = add(ret, labels("client", NULL), (double[]){10, 20, 30, 0});
		return r < 0 ? r : add(ret, labels("server", NULL), (double[]){1, NAN, 3, NAN});
	}
	if (strcmp(name, "kinds") == 0) {
		r = add(ret, labels("client", "fast"), (double[]){1, 1, 1, NAN});
		if (r == 0)
			r = add(ret, labels("client", "timer"), (double[]){5, NAN, 2, NAN});
		return r < 0 ? r : add(ret, labels("server", "fast"), (double[]){7, 7, 7, 7});
	}
	for (unsigned i = 0; strcmp(name, "many") == 0 && i <= MQE_SERIES_MAX && r == 0; i++) {
		char text[16];

		(void)snprintf(text, sizeof(text), "%u", i);
		r = add(ret, labels(text, NULL), plain);
	}
	return r < 0 || strcmp(name, "empty") == 0 || strcmp(name, "many") == 0 ? r : -ENOENT;
}

static const struct mqe_source source = {.metric = metric, .late = late, .n_points = POINTS};

/* "role=client:1,2,-,4 role=server:…" */
static void gives(const char *text, bool single, const char *want)
{
	_cleanup_(mqe_value_done) struct mqe_value v = {0};
	char words[160], got[512] = "";

	if (mqe_evaluate(&source, text, &v, words) != 0)
		fail_msg("%s: %s", text, words);
	assert_int_equal(v.single, single);
	assert_int_equal(v.n_points, single ? 1 : POINTS);
	for (size_t i = 0; i < v.n; i++) {
		size_t at = strlen(got);

		at += (size_t)snprintf(got + at, sizeof(got) - at, "%s", i ? " " : "");
		for (size_t k = 0; k < json_array_size(v.series[i].labels); k++)
			at += (size_t)snprintf(
				got + at, sizeof(got) - at, "%s%s", k ? "/" : "",
				sonde_json_get_text(json_array_get(v.series[i].labels, k), "value",
						    "?"));
		for (size_t k = 0; k < v.n_points; k++) {
			double p = v.series[i].points[k];

			at += isnan(p) ? (size_t)snprintf(got + at, sizeof(got) - at, ",-")
				       : (size_t)snprintf(got + at, sizeof(got) - at, ",%g", p);
		}
	}
	if (strcmp(got, want) != 0)
		fail_msg("%s: '%s', not '%s'", text, got, want);
}

static void refuses(const char *text, int r, const char *words)
{
	struct mqe_value v = {0};
	char got[160];

	assert_err(mqe_evaluate(&source, text, &v, got), r);
	if (!strstr(got, words))
		fail_msg("%s: '%s', not '%s'", text, got, words);
}

static void a_metric_is_itself(void **state)
{
	gives("plain", false, ",1,2,-,4");
	gives(" roles ", false, "client,10,20,30,0 server,1,-,3,-");
	gives("empty", false, "");
	gives("empty*2", false, "");
	gives("empty+plain", false, "");
	gives("sum(empty)", true, "");
}

static void labels_are_chosen(void **state)
{
	gives("roles{role='server'}", false, "server,1,-,3,-");
	gives("roles{role!='server'}", false, "client,10,20,30,0");
	gives("kinds{role=\"client\", kind='fast,other'}", false, "client/fast,1,1,1,-");
	gives("roles{nope='x'}", false, "");
	gives("roles{nope!='x'}", false, "client,10,20,30,0 server,1,-,3,-");
}

static void operators_bind_as_usual(void **state)
{
	gives("1+2*3-4/2", true, ",5");
	gives("(1+2)*-3", true, ",-9");
	gives("7%4", true, ",3");
	gives("1-2-3", true, ",-4");
	gives("--2", true, ",2");
	gives("plain*10+1", false, ",11,21,-,41");
	gives("100/plain", false, ",100,50,-,25");
	gives("-plain", false, ",-1,-2,-,-4");
	gives("1/0", true, ",-");
	gives("plain/0", false, ",-,-,-,-");
}

static void lines_meet_by_their_labels(void **state)
{
	gives("roles/roles*100", false, "client,100,100,100,- server,100,-,100,-");
	gives("roles+plain", false, "client,11,22,-,4 server,2,-,-,-");
	gives("plain-roles", false, "client,-9,-18,-,4 server,0,-,-,-");
	gives("roles+kinds", false, "");
	gives("roles/sum(plain)", false,
	      "client,1.42857,2.85714,4.28571,0 server,0.142857,-,0.428571,-");
}

static void functions_fold_time(void **state)
{
	gives("sum(plain)", true, ",7");
	gives("avg(plain)", true, ",2.33333");
	gives("min(plain)", true, ",1");
	gives("max(plain)", true, ",4");
	gives("count(plain)", true, ",3");
	gives("latest(roles)", true, "client,0 server,3");
	gives("abs(0-plain)", false, ",1,2,-,4");
	gives("ceil(plain/2)", false, ",1,1,-,2");
	gives("floor(plain/2)", false, ",0,1,-,2");
	gives("sum(plain)+1", true, ",8");
}

static void labels_are_aggregated(void **state)
{
	gives("aggregate_labels(kinds,sum)", false, ",13,8,10,7");
	gives("aggregate_labels(kinds,sum(role))", false, "client,6,1,3,- server,7,7,7,7");
	gives("aggregate_labels(kinds{role='client'},avg)", false, ",3,1,1.5,-");
	gives("aggregate_labels(kinds,max(kind))", false, "fast,7,7,7,7 timer,5,-,2,-");
	gives("aggregate_labels(kinds,min(kind,role))", false,
	      "client/fast,1,1,1,- client/timer,5,-,2,- server/fast,7,7,7,7");
	gives("latest(aggregate_labels(kinds,sum))", true, ",7");
}

static void what_is_wrong_is_said(void **state)
{
	char deep[128];

	refuses("nope", EINVAL, "Metric: [nope] does not exist.");
	refuses("top_n(nope,10,des)", EINVAL, "does not exist");
	refuses("top_n(plain,10,des)", EINVAL, "top_n() is not supported");
	refuses("", EINVAL, "expected a name");
	refuses("plain plain", EINVAL, "not supported from here on");
	refuses("plain > 1", EINVAL, "not supported from here on: '> 1'");
	refuses("sum(plain", EINVAL, "expected ')'");
	refuses("plain{role}", EINVAL, "expected '='");
	refuses("plain{role=x}", EINVAL, "quoted");
	refuses("plain{role='x}", EINVAL, "does not end");
	refuses("1.2.3", EINVAL, "no number");
	refuses("aggregate_labels(plain,latest)", EINVAL, "takes avg");
	refuses("aggregate_labels(plain,sum(a,b,c,d,e,f,g,h,i))", EINVAL, "more than 8");
	refuses("many", E2BIG, "too many values");
	memset(deep, '(', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	refuses(deep, EINVAL, "deep");
}

static void a_metric_is_read_once(void **state)
{
	static const char again[] = "+0*roles{role='client'}";
	char text[MQE_BYTES_MAX + 1] = "roles{role='client'}";
	size_t n = strlen(text);

	n_asked = 0;
	gives("plain*10+sum(plain)-plain", false, ",16,25,-,43");
	assert_int_equal(n_asked, 1);
	/* As it was, not as what was made of it. */
	gives("roles{role='client'}+aggregate_labels(roles{role='server'},sum)", false,
	      "client,11,-,33,-");
	assert_int_equal(n_asked, 2);
	for (; n + sizeof(again) <= sizeof(text); n += sizeof(again) - 1)
		memcpy(text + n, again, sizeof(again));
	gives(text, false, "client,10,20,30,0");
	assert_int_equal(n_asked, 3);
}

static void no_time_is_said(void **state)
{
	n_terms = 0;
	refuses("plain", ETIME, "takes too long");
	n_terms = 3;
	refuses("plain+plain+plain+plain", ETIME, "takes too long");
	n_terms = 3;
	refuses("plain+1+1+1+1+1", ETIME, "takes too long");
	n_terms = UINT_MAX;
	refuses("1+slow", ETIME, "takes too long");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_metric_is_itself),
		cmocka_unit_test(labels_are_chosen),
		cmocka_unit_test(operators_bind_as_usual),
		cmocka_unit_test(lines_meet_by_their_labels),
		cmocka_unit_test(functions_fold_time),
		cmocka_unit_test(labels_are_aggregated),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(a_metric_is_read_once),
		cmocka_unit_test(no_time_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
