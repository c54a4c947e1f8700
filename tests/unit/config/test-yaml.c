/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/yaml.h"

static void assert_refused_bytes(const char *text, size_t len, const char *complaint)
{
	_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *root = NULL;
	_cleanup_free_ char *error = NULL;

	assert_err(sonde_yaml_parse(text, len, "f", &root, &error), EINVAL);
	assert_null(root);
	assert_string_equal(error, complaint);
}

static void assert_refused(const char *text, const char *complaint)
{
	assert_refused_bytes(text, strlen(text), complaint);
}

static struct sonde_yaml_node *accepted(const char *text)
{
	_cleanup_free_ char *error = NULL;
	struct sonde_yaml_node *root = NULL;

	if (sonde_yaml_parse(text, strlen(text), "f", &root, &error) < 0)
		fail_msg("refused: %s", error);
	return root;
}

static void the_tree_knows_kinds_texts_and_lines(void **state)
{
	_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *root =
		accepted("# c\na: 1\nb:\n  - x\n  - 'y'\nc: {d: ~, e: null, f: \"null\", g: }\n");
	const struct sonde_yaml_node *b, *c;

	assert_int_equal(root->kind, SONDE_YAML_MAPPING);
	assert_string_equal(sonde_yaml_get(root, "a")->text, "1");
	assert_int_equal(sonde_yaml_get(root, "a")->line, 2);
	b = sonde_yaml_get(root, "b");
	assert_int_equal(b->kind, SONDE_YAML_SEQUENCE);
	assert_int_equal(b->n_children, 2);
	assert_int_equal(b->children[1]->line, 5);
	assert_true(b->children[1]->quoted);
	assert_false(b->children[0]->quoted);
	c = sonde_yaml_get(root, "c");
	assert_int_equal(sonde_yaml_get(c, "d")->kind, SONDE_YAML_NULL);
	assert_int_equal(sonde_yaml_get(c, "e")->kind, SONDE_YAML_NULL);
	assert_int_equal(sonde_yaml_get(c, "f")->kind, SONDE_YAML_SCALAR);
	assert_int_equal(sonde_yaml_get(c, "g")->kind, SONDE_YAML_NULL);
	assert_null(sonde_yaml_get(c, "h"));
	assert_null(sonde_yaml_get(b, "x"));
}

static void json_is_read_too(void **state)
{
	_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *root =
		accepted("{\n\t\"a\": [1, true, \"\\u00e9\\/\"],\n\t\"b\": {}\n}");
	const struct sonde_yaml_node *a = sonde_yaml_get(root, "a");

	assert_int_equal(a->n_children, 3);
	assert_string_equal(a->children[2]->text, "é/");
}

static void an_empty_text_is_an_empty_mapping(void **state)
{
	static const char *const texts[] = {"", "\n", "# c\n", "---\n", "---\n...\n", "~"};

	for (size_t i = 0; i < ELEMENTS_OF(texts); i++) {
		_cleanup_(sonde_yaml_freep) struct sonde_yaml_node *root = accepted(texts[i]);

		assert_int_equal(root->kind, SONDE_YAML_MAPPING);
		assert_int_equal(root->n_children, 0);
	}
}

static void what_could_grow_or_pick_types_is_refused(void **state)
{
	assert_refused("a: &x 1\n", "f:1: anchors are not allowed");
	assert_refused("a: *x\n", "f:1: aliases are not allowed");
	assert_refused("\na: &x [1]\nb: *x\n", "f:2: anchors are not allowed");
	assert_refused("a: !!int 1\n", "f:1: tags are not allowed");
	assert_refused("a: !!map {}\n", "f:1: tags are not allowed");
	assert_refused("&k a: 1\n", "f:1: anchors are not allowed");
	assert_refused("[a]: 1\n", "f:1: a key must be a word");
	assert_refused("a: 1\n---\nb: 1\n", "f:3: more than one document in the file");
	assert_refused_bytes("a: \"x\\0y\"\n", 10, "f:1: a NUL byte is not allowed");
}

static void a_key_stands_once(void **state)
{
	assert_refused("a: 1\nb:\n  c: 1\n  c: 2\n", "f:4: key 'c': given twice, first on line 3");
	assert_refused("{a: 1, \"a\": 2}", "f:1: key 'a': given twice, first on line 1");
}

static void what_is_no_yaml_is_told_with_its_line(void **state)
{
	assert_refused("a: 1\n\tb: 2\n",
		       "f:2: not YAML: found a tab character that violates indentation");
	assert_refused("a: [1\n", "f:2: not YAML: did not find expected ',' or ']'");
	assert_refused_bytes("a: \xff\n", 5, "f:1: not YAML: invalid leading UTF-8 octet");
}

static void depth_is_bounded(void **state)
{
	char text[2 * SONDE_YAML_DEPTH_MAX + 8] = "";

	memset(text, '[', SONDE_YAML_DEPTH_MAX);
	memset(text + SONDE_YAML_DEPTH_MAX, ']', SONDE_YAML_DEPTH_MAX);
	sonde_yaml_free(accepted(text));
	memset(text, '[', SONDE_YAML_DEPTH_MAX + 1);
	assert_refused(text, "f:1: nested deeper than 16 levels");
}

static void nodes_and_keys_are_bounded(void **state)
{
	_cleanup_free_ char *items = NULL, *keys = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&items, &n);

	for (int i = 0; i <= SONDE_YAML_NODES_MAX; i++)
		(void)fprintf(out, "- 1\n");
	(void)fclose(out);
	assert_refused(items, "f:32768: more than 32768 values");

	out = open_memstream(&keys, &n);
	for (int i = 0; i <= SONDE_YAML_MAPPING_MAX; i++)
		(void)fprintf(out, "k%d: 1\n", i);
	(void)fclose(out);
	assert_refused(keys, "f:513: more than 512 keys in a mapping");
}

static void the_text_is_bounded(void **state)
{
	_cleanup_free_ char *text = malloc(SONDE_YAML_TEXT_MAX + 1);

	assert_non_null(text);
	memset(text, ' ', SONDE_YAML_TEXT_MAX + 1);
	assert_refused_bytes(text, SONDE_YAML_TEXT_MAX + 1, "f:1: larger than 1048576 bytes");
}

static void a_file_is_read_whole_or_refused(void **state)
{
	char path[] = "/tmp/sonde-yaml-XXXXXX";
	_cleanup_close_ int fd = mkstemp(path);
	_cleanup_free_ char *text = NULL;
	size_t len;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "abc", 3), 3);
	assert_ok(sonde_yaml_read_file(path, 3, &text, &len));
	assert_int_equal(len, 3);
	assert_string_equal(text, "abc");
	free(text);
	text = NULL;
	assert_err(sonde_yaml_read_file(path, 2, &text, &len), EFBIG);
	assert_null(text);
	assert_ok(unlink(path));
	assert_err(sonde_yaml_read_file(path, 3, &text, &len), ENOENT);
	assert_err(sonde_yaml_read_file("/", 3, &text, &len), EISDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tree_knows_kinds_texts_and_lines),
		cmocka_unit_test(json_is_read_too),
		cmocka_unit_test(an_empty_text_is_an_empty_mapping),
		cmocka_unit_test(what_could_grow_or_pick_types_is_refused),
		cmocka_unit_test(a_key_stands_once),
		cmocka_unit_test(what_is_no_yaml_is_told_with_its_line),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(nodes_and_keys_are_bounded),
		cmocka_unit_test(the_text_is_bounded),
		cmocka_unit_test(a_file_is_read_whole_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
