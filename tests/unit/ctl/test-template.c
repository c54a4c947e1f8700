/* SPDX-License-Identifier: Apache-2.0 */
/* A dashboard's file, and what an OAP has of it: ours, older, newer, edited. Whether its rule files are in force. */
#include "sonde-test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/oap.h"
#include "ctl/rule-status.h"
#include "ctl/template.h"

static char dir[] = "/tmp/sonde-test-template-XXXXXX";

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)unlinkat(AT_FDCWD, dir, AT_REMOVEDIR);
	return 0;
}

static void write_file(const char *text)
{
	char path[64];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/a.json", dir);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_ok(fclose(f));
}

static void forget_file(void)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/a.json", dir);
	assert_ok(unlink(path));
}

#define TEMPLATE(version, title)                                                                   \
	"[{\"id\":\"a\",\"configuration\":{\"name\":\"A\",\"layer\":\"GENERAL\",\"entity\":"       \
	"\"Service\",\"sonde\":{\"version\":" version                                              \
	"},\"children\":[{\"type\":\"Widget\",\"i\":\"" title "\"}]}}]"

static void load(struct sonde_templates *t, const char *text, const char *layer)
{
	_cleanup_free_ char *error = NULL;

	write_file(text);
	assert_ok(sonde_templates_load(t, dir, layer, &error));
	assert_int_equal(t->n, 1);
	forget_file();
}

/* What an OAP has after an install of @text. */
static json_t *installed(const char *text, const char *layer)
{
	_cleanup_templates_ struct sonde_templates t = SONDE_TEMPLATES_INIT;
	_cleanup_free_ char *sent = NULL;
	json_t *theirs;

	load(&t, text, layer);
	sent = sonde_template_text(&t.items[0]);
	assert_non_null(sent);
	theirs = json_loads(sent, 0, NULL);
	assert_non_null(theirs);
	return theirs;
}

static void assert_judged(const char *ours, const json_t *theirs, enum sonde_template_state want)
{
	_cleanup_templates_ struct sonde_templates t = SONDE_TEMPLATES_INIT;
	enum sonde_template_state state;

	load(&t, ours, "GENERAL");
	assert_true(sonde_template_is(&t.items[0], theirs));
	assert_ok(sonde_template_judge(&t.items[0], theirs, &state));
	assert_string_equal(sonde_template_state_name(state), sonde_template_state_name(want));
}

static void an_installed_one_is_current_older_or_newer(void **state)
{
	json_auto_t *second = installed(TEMPLATE("2", "x"), "GENERAL");

	assert_judged(TEMPLATE("2", "x"), second, SONDE_TEMPLATE_CURRENT);
	assert_judged(TEMPLATE("3", "y"), second, SONDE_TEMPLATE_OLDER);
	assert_judged(TEMPLATE("1", "y"), second, SONDE_TEMPLATE_NEWER);
	/* of another build of the same version */
	assert_judged(TEMPLATE("2", "y"), second, SONDE_TEMPLATE_OLDER);
	/* the version alone is no difference */
	assert_judged(TEMPLATE("3", "x"), second, SONDE_TEMPLATE_CURRENT);
}

static void an_edited_one_is_neither_older_nor_newer(void **state)
{
	json_auto_t *theirs = installed(TEMPLATE("2", "x"), "GENERAL");

	/* as Booster UI saves it: what it does not know stays, and its own members come */
	assert_ok(json_object_set_new(theirs, "id", json_string("0b1e")));
	assert_judged(TEMPLATE("2", "x"), theirs, SONDE_TEMPLATE_EDITED);
	assert_judged(TEMPLATE("3", "y"), theirs, SONDE_TEMPLATE_EDITED);
	assert_judged(TEMPLATE("1", "y"), theirs, SONDE_TEMPLATE_EDITED);
}

static void without_our_mark_it_was_never_ours(void **state)
{
	json_auto_t *theirs = installed(TEMPLATE("2", "x"), "GENERAL");

	assert_ok(json_object_del(theirs, "sonde"));
	assert_judged(TEMPLATE("3", "y"), theirs, SONDE_TEMPLATE_EDITED);
	/* the same content is the same, whoever put it there */
	assert_judged(TEMPLATE("2", "x"), theirs, SONDE_TEMPLATE_CURRENT);
	/* a mark that is none */
	assert_ok(json_object_set_new(theirs, "sonde", json_integer(7)));
	assert_judged(TEMPLATE("3", "y"), theirs, SONDE_TEMPLATE_EDITED);
}

static void the_order_of_members_is_no_edit(void **state)
{
	json_auto_t *theirs = installed(TEMPLATE("2", "x"), "GENERAL");
	json_t *name = json_incref(json_object_get(theirs, "name"));

	assert_ok(json_object_del(theirs, "name"));
	assert_ok(json_object_set_new(theirs, "name", name));
	assert_judged(TEMPLATE("3", "y"), theirs, SONDE_TEMPLATE_OLDER);
}

static void another_layer_is_another_dashboard(void **state)
{
	json_auto_t *theirs = installed(TEMPLATE("2", "x"), "K8S_SERVICE");
	_cleanup_templates_ struct sonde_templates t = SONDE_TEMPLATES_INIT;

	assert_string_equal(json_string_value(json_object_get(theirs, "layer")), "K8S_SERVICE");
	load(&t, TEMPLATE("2", "x"), "GENERAL");
	assert_false(sonde_template_is(&t.items[0], theirs));
}

static void assert_no_template(const char *text, const char *words)
{
	_cleanup_templates_ struct sonde_templates t = SONDE_TEMPLATES_INIT;
	_cleanup_free_ char *error = NULL;

	write_file(text);
	assert_err(sonde_templates_load(&t, dir, "GENERAL", &error), EINVAL);
	assert_non_null(error);
	if (!strstr(error, words))
		fail_msg("'%s' lacks '%s'", error, words);
	assert_int_equal(t.n, 0);
	forget_file();
}

static void a_file_that_is_none_is_named(void **state)
{
	_cleanup_templates_ struct sonde_templates t = SONDE_TEMPLATES_INIT;
	_cleanup_free_ char *error = NULL;

	assert_no_template("", "expected");
	assert_no_template("[[[[[[[[[[[[[[[[[[[[[[", "expected");
	assert_no_template("{\"id\":1}", "expected");
	assert_no_template("[{\"id\":\"a\"}]", "expected");
	assert_no_template(TEMPLATE("0", "x"), "sonde.version");
	assert_no_template(TEMPLATE("\"1\"", "x"), "sonde.version");
	assert_err(sonde_templates_load(&t, dir, "GENERAL", &error), ENOENT);
	assert_err(sonde_templates_load(&t, "/nonexistent", "GENERAL", &error), ENOENT);
	assert_null(error);
}

/* --- rule files --- */

#define RULES_TEXT(suffix)                                                                         \
	"metricPrefix: a\n"                                                                        \
	"expSuffix: instance(['service'], ['instance'], Layer.GENERAL)\n"                          \
	"metricsRules:\n"                                                                          \
	"  - name: one\n"                                                                          \
	"    exp: m.sum(['service', 'instance'])\n"                                                \
	"  - name: two\n"                                                                          \
	"    exp: m.sum(['service', 'instance', 'kind']).downsampling(" suffix ")\n"

static void assert_rules(const char *text, const char *metrics, unsigned int minor,
			 const char *want, size_t n_missing)
{
	_cleanup_(sonde_mal_rules_freep) struct sonde_mal_rules *rules = NULL;
	json_auto_t *list = json_loads(metrics, 0, NULL);
	struct sonde_rule_status s;

	assert_non_null(list);
	assert_ok(sonde_mal_rules_load("a.yaml", text, strlen(text), (struct sonde_mal_report){0},
				       &rules));
	assert_ok(sonde_rule_status(rules, list, 10, minor, &s));
	assert_string_equal(sonde_rule_state_name(s.state), want);
	assert_int_equal(s.n_metrics, 2);
	assert_int_equal(s.n_found, 2 - n_missing);
	assert_int_equal(json_array_size(s.missing), n_missing);
	json_decref(s.missing);
}

#define ONE "{\"name\":\"a_one\",\"type\":\"REGULAR_VALUE\",\"catalog\":\"SERVICE_INSTANCE\"}"
#define TWO(type, catalog) "{\"name\":\"a_two\",\"type\":\"" type "\",\"catalog\":\"" catalog "\"}"

static void a_rule_file_is_told_by_its_metrics(void **state)
{
	const char *sum = RULES_TEXT("SUM"), *latest = RULES_TEXT("LATEST");

	assert_rules(sum, "[" ONE "," TWO("LABELED_VALUE", "SERVICE_INSTANCE") "]", 1, "in force",
		     0);
	assert_rules(sum, "[" ONE "]", 1, "partly", 1);
	assert_rules(sum, "[" ONE "," TWO("REGULAR_VALUE", "SERVICE_INSTANCE") "]", 1, "partly", 1);
	assert_rules(sum, "[" ONE "," TWO("LABELED_VALUE", "SERVICE") "]", 1, "partly", 1);
	assert_rules(sum, "[]", 1, "not loaded", 2);
	assert_rules(latest, "[]", 3, "needs a newer OAP", 2);
	assert_rules(latest, "[]", 4, "not loaded", 2);
	assert_rules(latest, "[" ONE "," TWO("LABELED_VALUE", "SERVICE_INSTANCE") "]", 3,
		     "in force", 0);
	assert_rules(sum, "[7, {\"name\": 1}, null]", 1, "not loaded", 2);
}

static void who_refuses_changes_is_told_by_its_words(void **state)
{
	assert_true(sonde_oap_is_update_refused(
		"The dashboard update has been disabled. Check SW_ENABLE_UPDATE_UI_TEMPLATE on "
		"configuration-vocabulary.md"));
	assert_false(sonde_oap_is_update_refused("Can't find the template"));
	assert_false(sonde_oap_is_update_refused(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_installed_one_is_current_older_or_newer),
		cmocka_unit_test(an_edited_one_is_neither_older_nor_newer),
		cmocka_unit_test(without_our_mark_it_was_never_ours),
		cmocka_unit_test(the_order_of_members_is_no_edit),
		cmocka_unit_test(another_layer_is_another_dashboard),
		cmocka_unit_test(a_file_that_is_none_is_named),
		cmocka_unit_test(a_rule_file_is_told_by_its_metrics),
		cmocka_unit_test(who_refuses_changes_is_told_by_its_words),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
