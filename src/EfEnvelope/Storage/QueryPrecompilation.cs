namespace EfEnvelope.Storage;

/// <summary>
/// Whether EF turns a query into source code just now (<c>dotnet ef dbcontext optimize --precompile-queries</c>): it writes commands out as text and parameters, in which no plan has a place. On the thread that compiles.
/// </summary>
internal static class QueryPrecompilation
{
    [ThreadStatic]
    private static bool _isUnderWay;

    public static T Run<T>(Func<T> compile)
    {
        var outer = _isUnderWay;
        _isUnderWay = true;
        try
        {
            return compile();
        }
        finally
        {
            _isUnderWay = outer;
        }
    }

    /// <exception cref="EnvelopeQueryException">The query, which has encrypted properties in it, is being precompiled.</exception>
    public static void Refuse()
    {
        if (_isUnderWay)
        {
            throw new EnvelopeQueryException(
                "The query reads or sets encrypted properties: EF cannot precompile it (dbcontext optimize --precompile-queries), as its values are sealed and opened beside the command. Run `dotnet ef dbcontext optimize` without that option: the compiled model is served.");
        }
    }
}
