"""tree-sitter: languages, trees, and the gap at the cursor. No pygls, no asyncio."""
