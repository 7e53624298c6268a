"""Use a finished student on a labelled task: fine-tune it, or distil the task's teacher into it.

labelled rows            -> `task` -> tokens (`examples`) -> `fit` -> a tuned folder (`model`)
teacher's stored vectors -> `teacher_head` -> logits of unlabelled sentences (`task_logits`)
                                                      -> `transfer` -> `fit` beside the labels
any teacher's scores of unlabelled pairs -> `transfer` -> the same
"""
