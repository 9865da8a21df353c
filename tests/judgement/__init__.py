"""Is every answer judged rightly: right ones, wrong ones, strange ones, nasty ones?"""
