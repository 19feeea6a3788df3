import { useEffect, useRef } from 'react'

export function Help({ onClose, views }: { onClose: () => void; views: string[] }) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby="help-title">
      <h2 id="help-title">Keyboard</h2>
      <dl className="keys">
        {views.map((name, i) => (
          <div key={name}><dt><kbd>{i + 1}</kbd></dt><dd>{name}</dd></div>
        ))}
        <div><dt><kbd>/</kbd></dt><dd>search</dd></div>
        <div><dt><kbd>↑</kbd> <kbd>↓</kbd></dt><dd>from task to task in the table, <kbd>Enter</kbd> opens one</dd></div>
        <div><dt><kbd>p</kbd></dt><dd>pause or resume the table</dd></div>
        <div><dt><kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd></dt><dd>zoom the graph</dd></div>
      </dl>
      <h2>Words</h2>
      <dl>
        <dt>blocked</dt><dd>waits for something for longer than a second</dd>
        <dt>deadlocked</dt><dd>part of a certain deadlock: a cycle of waits that all stood at the same instant. Tasks of a suspected or transient one are blocked</dd>
        <dt>victim</dt><dd>waits for a deadlocked task</dd>
        <dt>certain, suspected, transient</dt><dd>no wait is inferred; a deadlock if the assumption that the story names is true; a deadline or a TTL will end it</dd>
      </dl>
      <form method="dialog"><button type="submit">Close</button></form>
    </dialog>
  )
}
