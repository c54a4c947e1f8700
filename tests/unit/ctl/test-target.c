/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <string.h>

#include "ctl/target.h"

static const char known[] =
	"[{\"service\":\"shop\",\"process\":\"nginx\"},{\"service\":\"shop\",\"process\":\"nginx\"},"
	"{\"service\":\"cart\",\"process\":\"cart\"},{\"service\":\"nginx\",\"process\":\"edge\"},"
	"{\"service\":\"redis\",\"process\":\"redis\"},{\"service\":\"redis\",\"process\":\"sentinel\"},"
	"{\"service\":5},7,null]";

static void assert_parsed(const char *text, enum sonde_target_kind kind, int pid, const char *name)
{
	struct sonde_target target;
	const char *words;

	assert_ok(sonde_target_parse(text, &target, &words));
	assert_int_equal(target.kind, kind);
	assert_int_equal(target.pid, pid);
	if (name)
		assert_string_equal(target.name, name);
	else
		assert_null(target.name);
}

static void every_form_is_read(void **state)
{
	assert_parsed("pid:1234", SONDE_TARGET_PID, 1234, NULL);
	assert_parsed("pid:2147483647", SONDE_TARGET_PID, 2147483647, NULL);
	assert_parsed("1234", SONDE_TARGET_PID, 1234, NULL);
	assert_parsed("service:1234", SONDE_TARGET_SERVICE, 0, "1234");
	assert_parsed("process:nginx", SONDE_TARGET_PROCESS, 0, "nginx");
	assert_parsed("service:shop: a b", SONDE_TARGET_SERVICE, 0, "shop: a b");
	assert_parsed("id:00ff", SONDE_TARGET_ID, 0, "00ff");
	assert_parsed("nginx", SONDE_TARGET_WORD, 0, "nginx");
	assert_parsed("12x", SONDE_TARGET_WORD, 0, "12x");
	assert_parsed("host:80", SONDE_TARGET_WORD, 0, "host:80");
}

static void what_is_no_target_says_why(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{"pid:", "expected a process id from 1 to 2147483647, such as pid:1234"},
		{"pid:0", "expected a process id from 1 to 2147483647, such as pid:1234"},
		{"pid:-1", "expected a process id from 1 to 2147483647, such as pid:1234"},
		{"pid:2147483648", "expected a process id from 1 to 2147483647, such as pid:1234"},
		{"pid:1x", "expected a process id from 1 to 2147483647, such as pid:1234"},
		{"", "expected a name"},
		{"process:", "expected a name"},
		{"service:", "expected a name"},
		{"id:", "expected a name"},
		{"0", "expected a process id from 1 to 2147483647, such as pid:1234"},
		{"2147483648", "expected a process id from 1 to 2147483647, such as pid:1234"},
		{"service:\xff", "expected UTF-8"},
	};

	for (size_t i = 0; i < ELEMENTS_OF(rows); i++) {
		struct sonde_target target;
		const char *words = NULL;

		assert_err(sonde_target_parse(rows[i].text, &target, &words), EINVAL);
		assert_string_equal(words, rows[i].words);
	}
}

static void a_name_is_bounded(void **state)
{
	char text[8 + SONDE_TARGET_NAME_MAX + 2] = "service:";
	struct sonde_target target;
	const char *words;

	memset(text + 8, 'x', SONDE_TARGET_NAME_MAX);
	assert_ok(sonde_target_parse(text, &target, &words));
	text[8 + SONDE_TARGET_NAME_MAX] = 'x';
	assert_err(sonde_target_parse(text, &target, &words), EINVAL);
	assert_string_equal(words, "longer than 255 bytes");
}

static int resolve(const char *word, enum sonde_target_kind *ret_kind)
{
	json_t *targets = json_loads(known, 0, NULL);
	struct sonde_target target;
	const char *words;
	int r;

	assert_non_null(targets);
	assert_ok(sonde_target_parse(word, &target, &words));
	r = sonde_target_resolve(&target, targets);
	*ret_kind = target.kind;
	json_decref(targets);
	return r;
}

static void a_word_is_the_service_or_process_of_that_name(void **state)
{
	enum sonde_target_kind kind;

	assert_ok(resolve("shop", &kind));
	assert_int_equal(kind, SONDE_TARGET_SERVICE);
	assert_ok(resolve("edge", &kind));
	assert_int_equal(kind, SONDE_TARGET_PROCESS);
}

static void one_name_for_the_same_processes_is_no_question(void **state)
{
	enum sonde_target_kind kind;

	assert_ok(resolve("cart", &kind));
	assert_int_equal(kind, SONDE_TARGET_SERVICE);
}

static void one_name_for_different_processes_is_a_question(void **state)
{
	enum sonde_target_kind kind;

	assert_err(resolve("nginx", &kind), ENOTUNIQ);
	assert_int_equal(kind, SONDE_TARGET_WORD);
	/* the service has a process more than the name */
	assert_err(resolve("redis", &kind), ENOTUNIQ);
}

static void an_unknown_word_has_a_hint_if_one_is_near(void **state)
{
	json_t *targets = json_loads(known, 0, NULL);
	enum sonde_target_kind kind;

	assert_err(resolve("ngnix", &kind), ENOENT);
	assert_string_equal(sonde_target_hint("ngnix", targets), "nginx");
	assert_null(sonde_target_hint("something-else", targets));
	json_decref(targets);
}

static void the_request_names_one_field_each(void **state)
{
	static const char *const texts[] = {"pid:7", "process:a", "service:b", "id:c"};
	json_t *list = json_array();
	char *text;

	for (size_t i = 0; i < ELEMENTS_OF(texts); i++) {
		struct sonde_target target;
		const char *words;

		assert_ok(sonde_target_parse(texts[i], &target, &words));
		assert_ok(sonde_target_append(&target, i == 1 ? "agent" : NULL, list));
	}
	text = json_dumps(list, JSON_COMPACT);
	assert_string_equal(text, "[{\"pid\":7},{\"processName\":\"a\",\"agentId\":\"agent\"},"
				  "{\"service\":\"b\"},{\"processId\":\"c\"}]");
	free(text);
	json_decref(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form_is_read),
		cmocka_unit_test(what_is_no_target_says_why),
		cmocka_unit_test(a_name_is_bounded),
		cmocka_unit_test(a_word_is_the_service_or_process_of_that_name),
		cmocka_unit_test(one_name_for_the_same_processes_is_no_question),
		cmocka_unit_test(one_name_for_different_processes_is_a_question),
		cmocka_unit_test(an_unknown_word_has_a_hint_if_one_is_near),
		cmocka_unit_test(the_request_names_one_field_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
